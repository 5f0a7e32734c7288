"""Classes are the likeliest first, by name, with the probabilities of the network's own softmax."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch.nn import functional

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.card import SquareInput
from pixelmill.workers.models.checkpoint import save_checkpoint
from pixelmill.workers.models.picture_model import Classes
from pixelmill.workers.networks.finetuned import Finetuned, FinetunedConfig
from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import Milled, StageContext
from pixelmill.workers.stages.classify import Classify, ClassifyConfig
from tests.workers.encoders import SLIM
from tests.workers.saved import make_card

CONTEXT = StageContext(device="cpu", threads=1, job_images=1, cache_dir=None)
MODEL = "torchvision:squeezenet1_1/random"


def noise(height: int, width: int, seed: int = 0) -> Picture:
    coarse_BCHW = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(seed)) * 255
    return Picture(functional.interpolate(coarse_BCHW, (height, width), mode="bicubic").clamp(0, 255).byte()[0])


def run(stage: Classify, *pictures: Picture) -> Milled:
    return stage.run([stage.prepare(picture) for picture in pictures])


def finetuned(folder: Path, *, growth: float | None = None, channels: int = 3, **card: Any) -> str:
    """A checkpoint of a tiny classifier of three classes, as fine-tuning writes it."""
    torch.manual_seed(0)
    network = Finetuned(FinetunedConfig("autoencoder", SLIM["autoencoder"] | {"channels": channels}, classes=3))
    for parameter in network.head.parameters():
        if growth is not None:
            parameter.data.fill_(growth)
    seen = SquareInput(size_px=64, mean=(0.0,) * channels, std=(1.0,) * channels)
    config = json.loads(json.dumps(asdict(network.config)))
    save_checkpoint(folder, network, make_card(network="finetuned", config=config, **{"preprocess": seen} | card))
    return str(folder)


def test_scores_are_the_softmax_of_torchvision_with_its_names_and_its_preprocessing() -> None:
    picture = noise(300, 260)
    columns = run(ClassifyConfig(model=MODEL, top=3).build(CONTEXT), picture).columns
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network: Any = torchvision.models.get_model("squeezenet1_1", weights=None).eval()
    published = torchvision.models.SqueezeNet1_1_Weights.DEFAULT
    with torch.inference_mode():
        scores_K = network(published.transforms()(picture.pixels)[None]).softmax(1)[0]
    best = scores_K.topk(3)
    (ids,), (names,), (scores,) = (columns[f"class_{part}"].to_pylist() for part in ("id", "name", "score"))  # type: ignore[union-attr]
    assert ids == best.indices.tolist()
    assert names == [published.meta["categories"][number] for number in ids]
    assert scores == pytest.approx(best.values.tolist(), rel=1e-3)


def test_a_fine_tuned_classifier_names_the_classes_of_its_card(tmp_path: Path) -> None:
    model = finetuned(tmp_path, classes=Classes(("cat", "dog", "eel")))
    columns = run(ClassifyConfig(model=model).build(CONTEXT), noise(80, 90), noise(1, 7)).columns
    for ids, names, scores in zip(
        *(columns[f"class_{part}"].to_pylist() for part in ("id", "name", "score")), strict=True
    ):  # type: ignore[union-attr]
        assert [("cat", "dog", "eel")[number] for number in ids] == names
        assert sum(scores) == pytest.approx(1)
        assert scores == sorted(scores, reverse=True)


def test_a_classifier_of_grey_pictures_sees_their_luma(tmp_path: Path) -> None:
    stage = ClassifyConfig(model=finetuned(tmp_path, channels=1)).build(CONTEXT)
    assert stage.prepare(noise(80, 90)).shape == (1, 64, 64)
    assert len(run(stage, noise(80, 90)).columns["class_id"]) == 1


def test_other_columns_are_called_after_the_key() -> None:
    assert ClassifyConfig(model=MODEL, column="kind").columns() == ("kind_id", "kind_name", "kind_score")


def test_more_classes_than_there_are_can_not_be_asked_for_but_fewer_may_be_there(tmp_path: Path) -> None:
    model = finetuned(tmp_path)
    with pytest.raises(ModelError, match=r"top is 4, and model .* has 3 classes; set fewer"):
        ClassifyConfig(model=model, top=4).build(CONTEXT)
    (ids,) = run(ClassifyConfig(model=model).build(CONTEXT), noise(70, 70)).columns["class_id"].to_pylist()  # type: ignore[union-attr]
    assert sorted(ids) == [0, 1, 2]


def test_a_score_that_is_no_number_is_an_error_of_the_row(tmp_path: Path) -> None:
    milled = run(ClassifyConfig(model=finetuned(tmp_path, growth=3e38)).build(CONTEXT), noise(64, 64))
    assert (milled.errors[0].stage, milled.errors[0].error_type) == ("classify", "NotFinite")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("segnet-camvid", "holds the network segnet, which can't classify; it can embed, segment"),
        ("torchvision:fcn_resnet50", "has no classification model fcn_resnet50"),
        ("resnet50", "unknown"),
    ],
)
def test_a_model_that_does_not_classify_is_refused_before_anything_starts(model: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        ClassifyConfig(model=model).identity()
