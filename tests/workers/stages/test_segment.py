"""Masks are those of the network's own evaluation, in the picture's size, with the names and colours of their classes."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco
from torch import Tensor
from torch.nn import functional

from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.errors import ModelError
from pixelmill.workers.models import zoo
from pixelmill.workers.models.checkpoint import load_checkpoint, save_checkpoint
from pixelmill.workers.models.libraries import load_model, resolve
from pixelmill.workers.models.palette import CAMVID_COLOURS
from pixelmill.workers.models.picture_model import SizeFacts
from pixelmill.workers.networks.unet import UNet, UNetConfig
from pixelmill.workers.pictures import Picture, pixel_count
from pixelmill.workers.recipes.registry import recipe_of
from pixelmill.workers.stages import Deferred, Milled, StageContext
from pixelmill.workers.stages.segment import Segment, SegmentConfig
from tests.shared_data import SHARED_DATA
from tests.workers.saved import make_card

CONTEXT = StageContext(device="cpu", threads=1, job_images=1, cache_dir=None)


def noise(height: int, width: int, seed: int = 0) -> Picture:
    """Smooth, so that a network sees regions."""
    coarse_BCHW = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(seed)) * 255
    return Picture(functional.interpolate(coarse_BCHW, (height, width), mode="bicubic").clamp(0, 255).byte()[0])


def run(stage: Segment, *pictures: Picture) -> Milled:
    return stage.run([stage.prepare(picture) for picture in pictures])


def values(milled: Milled, column: str) -> list[Any]:
    made = milled.columns[column]
    return [job() for job in made.jobs] if isinstance(made, Deferred) else made.to_pylist()


def ids_of(milled: Milled) -> list[np.ndarray]:
    return [picture.pixels[0].numpy() for picture in milled.pictures if picture is not None]


def small(folder: Path, classes: int = 2, growth: float | None = None) -> str:
    """A checkpoint of a tiny network; with `growth` every weight is that, and every layer so many times the one before."""
    torch.manual_seed(0)
    network = UNet(UNetConfig(base=2, levels=1, skips=(1,), padding="same", classes=classes))
    for parameter in network.parameters():
        if growth is not None and parameter.ndim > 1:
            parameter.data.fill_(growth)
    config = json.loads(json.dumps(asdict(network.config)))
    save_checkpoint(folder, network, make_card(network="unet", config=config))
    return str(folder)


@pytest.fixture(scope="module")
def stage() -> Segment:
    return SegmentConfig(model="unet-camvid").build(CONTEXT)


def test_a_mask_is_a_palette_picture_of_the_ids_that_later_stages_read(stage: Segment) -> None:
    milled = run(stage, noise(60, 80), noise(1, 1))
    for value, ids_HW in zip(values(milled, "mask"), ids_of(milled), strict=True):
        picture = Image.open(io.BytesIO(value["bytes"]))
        assert picture.mode == "P"
        assert np.array_equal(np.asarray(picture), ids_HW)
        shown_HWC = np.asarray(picture.convert("RGB"))
        assert np.array_equal(shown_HWC, np.array(list(CAMVID_COLOURS.values()), np.uint8)[ids_HW])
    assert len(np.unique(ids_of(milled)[0])) > 1


def test_the_schema_names_the_classes(stage: Segment) -> None:
    mask, fraction, _ = stage.fields
    assert json.loads(mask.metadata[b"classes"]) == list(CAMVID_COLOURS)
    assert json.loads(mask.metadata[b"colours"]) == [list(colour) for colour in CAMVID_COLOURS.values()]
    assert json.loads(fraction.metadata[b"classes"]) == list(CAMVID_COLOURS)


def test_shares_are_those_of_the_mask_and_confidence_is_a_probability(stage: Segment) -> None:
    milled = run(stage, noise(61, 83), noise(40, 40, seed=3))
    for shares, ids_HW in zip(values(milled, "class_fraction"), ids_of(milled), strict=True):
        assert shares == pytest.approx([(ids_HW == number).mean() for number in range(11)])
    assert all(1 / 11 <= confidence <= 1 for confidence in values(milled, "mask_confidence"))


def test_confidence_is_the_mean_probability_of_the_best_class(stage: Segment) -> None:
    picture = noise(64, 96)
    module, _ = load_checkpoint(zoo.ZOO / "unet-camvid.safetensors")
    with torch.inference_mode():
        best_BHW = module(picture.pixels[None].float() / 255).softmax(1).amax(1)
    assert values(run(stage, picture), "mask_confidence")[0] == pytest.approx(float(best_BHW.mean()), abs=1e-4)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
def test_run_lengths_are_the_same_mask() -> None:
    picture = noise(50, 70)
    stages = [SegmentConfig(model="unet-camvid", encoding=encoding).build(CONTEXT) for encoding in ("png", "rle")]
    (ids_HW,), (runs,) = ids_of(run(stages[0], picture)), values(run(stages[1], picture), "mask")
    made_HW = np.full_like(ids_HW, 255)
    for entry in runs:
        inside_HW = coco.decode({"size": entry["size"], "counts": entry["counts"].encode()})
        made_HW[inside_HW == 1] = entry["class_id"]
    assert np.array_equal(made_HW, ids_HW)
    column = pa.array([runs], stages[1].fields[0].type)
    assert column.to_pylist() == [runs]


def test_other_columns_are_called_after_the_mask() -> None:
    assert SegmentConfig(column="street").columns() == ("street", "street_fraction", "street_confidence")


def test_a_model_that_sees_pictures_in_its_own_size_gives_masks_in_theirs() -> None:
    """Borders between classes are where the enlarged scores cross, not where pixels of the network end."""
    name = "torchvision:lraspp_mobilenet_v3_large/random"
    picture = noise(300, 200)
    (ids_HW,) = ids_of(run(SegmentConfig(model=name, precision="float32").build(CONTEXT), picture))
    assert ids_HW.shape == (300, 200)
    model = load_model(resolve(name, "segment"), "segment")
    mean_C11, std_C11 = (torch.tensor(each).view(3, 1, 1) for each in (model.mean, model.std))
    resized_BCHW = functional.interpolate(picture.pixels[None], (780, 520), mode="bilinear", antialias=True)
    with torch.inference_mode():
        scores_BKHW = model.module((resized_BCHW / 255 - mean_C11) / std_C11)
        seen_BKHW = functional.interpolate(scores_BKHW, (780, 520), mode="bilinear")
        wanted_HW = functional.interpolate(seen_BKHW, (300, 200), mode="bilinear", antialias=True).argmax(1)[0]
    assert (ids_HW == wanted_HW.numpy()).mean() > 0.995


def test_a_large_picture_is_seen_as_small_as_asked_for_and_its_mask_is_large() -> None:
    small_one = noise(60, 80)
    large_one = Picture(functional.interpolate(small_one.pixels[None], (240, 320), mode="bilinear")[0])
    asked = SegmentConfig(model="unet-camvid", resize_px=60).build(CONTEXT)
    (mask_HW,) = ids_of(run(asked, large_one))
    (wanted_HW,) = ids_of(run(SegmentConfig(model="unet-camvid").build(CONTEXT), small_one))
    assert mask_HW.shape == (240, 320)
    assert (mask_HW == np.kron(wanted_HW, np.ones((4, 4), np.uint8))).mean() > 0.9


def test_a_batch_is_bounded_by_its_masks_and_not_by_the_network_input() -> None:
    stage = SegmentConfig(model="unet-camvid", resize_px=32).build(CONTEXT)
    sample = stage.prepare(noise(600, 800))
    assert pixel_count(sample[0]) == 600 * 800
    assert pixel_count(sample.seen.pixels_CHW) < 2000


def test_a_network_that_overflows_is_an_error_of_the_row_alone(tmp_path: Path) -> None:
    """Black is below 0 to this network, which stops there; white grows with every layer."""
    stage = SegmentConfig(model=small(tmp_path, growth=1e9)).build(CONTEXT)
    black, white = (Picture(torch.full((3, 20, 20), level, dtype=torch.uint8)) for level in (0, 255))
    milled = run(stage, white, black)
    assert list(milled.errors) == [0]
    assert (milled.errors[0].stage, milled.errors[0].error_type) == ("segment", "NotFinite")
    assert [picture is None for picture in milled.pictures] == [True, False]


def test_more_classes_than_a_byte_holds_are_refused(tmp_path: Path) -> None:
    most = SegmentConfig(model=small(tmp_path / "256", classes=256)).build(CONTEXT)
    assert len(values(run(most, noise(8, 8)), "class_fraction")[0]) == 256
    with pytest.raises(ModelError, match="has 257 classes, and a mask of 8 bits holds 256"):
        SegmentConfig(model=small(tmp_path / "257", classes=257)).build(CONTEXT)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("autoencoder-photos", "holds the network autoencoder, which can't segment"),
        ("torchvision:resnet50", "has no segmentation model resnet50; it has deeplabv3_resnet50, .*lraspp_"),
        ("torchvision:fcn_resnet50/V9", "has no weights V9; it has COCO_WITH_VOC_LABELS_V1, random"),
        ("segnet", "unknown .*or one of ours: fcn8s-camvid, segnet-camvid, unet-camvid"),
    ],
)
def test_a_model_that_does_not_segment_is_refused_before_anything_starts(model: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        SegmentConfig(model=model).identity()


def camvid(count: int) -> list[Path]:
    return sorted((SHARED_DATA / "camvid" / "val" / "images").glob("*"))[:: 101 // count][:count]


def sure_pixels(network: Any, image_CHW: Tensor) -> np.ndarray:
    """Where the two best classes are not about equal, so that rounding decides."""
    with torch.inference_mode():
        best_2HW = network(image_CHW[None].float() / 255)[0].topk(2, dim=0).values
    return (best_2HW[0] - best_2HW[1] > 1e-2).numpy()


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["segnet-camvid", "fcn8s-camvid", "unet-camvid"])
def test_masks_of_street_scenes_are_those_that_the_recipe_judges(name: str) -> None:
    network, card = load_checkpoint(zoo.ZOO / f"{name}.safetensors")
    recipe: Any = recipe_of(card, {"precision": "float32"})
    pictures = [Picture(decode_picture(path.read_bytes())) for path in camvid(4)]
    masks = ids_of(run(SegmentConfig(model=name).build(CONTEXT), *pictures))
    for picture, mask_HW in zip(pictures, masks, strict=True):
        with torch.inference_mode():
            wanted_HW = recipe.predict(network, picture.pixels[None].float() / 255)[0].numpy()
        assert (mask_HW == wanted_HW).mean() > 0.9999
        assert np.array_equal(*(each[sure_pixels(network, picture.pixels)] for each in (mask_HW, wanted_HW)))


def test_labels_made_on_the_device_are_those_made_of_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, picture = SegmentConfig(model="unet-camvid").build(CONTEXT), noise(70, 90)
    model = load_model(resolve("unet-camvid", "segment"), "segment")
    assert model.size.tiling == "exact"
    without_tiles = replace(model, size=SizeFacts(least_px=model.size.least_px))
    monkeypatch.setattr(SegmentConfig, "loaded", lambda _: without_tiles)
    other = SegmentConfig(model="unet-camvid").build(CONTEXT)
    (labelled,), (scored,) = (milled.pictures for milled in (run(stage, picture), run(other, picture)))
    assert labelled is not None
    assert scored is not None
    assert torch.equal(labelled.pixels, scored.pixels)


def test_averaged_masks_are_those_of_the_averaged_evaluation_and_old_runs_keep_their_identity() -> None:
    picture = noise(60, 80)
    module, card = load_checkpoint(zoo.ZOO / "unet-camvid.safetensors")
    for keys, settings in (
        ({"flip": True}, {"flip_evaluation": True}),
        ({"scales": [0.75, 1.25]}, {"scales_evaluation": [0.75, 1.25]}),
        ({"window_px": 48, "overlap": 0.25, "flip": True}, {"window_px": 48, "overlap": 0.25, "flip_evaluation": True}),
    ):
        stage = SegmentConfig.model_validate({"model": "unet-camvid", "precision": "float32", **keys}).build(CONTEXT)
        (ids_HW,) = ids_of(run(stage, picture))
        judge: Any = recipe_of(card, {**settings, "precision": "float32"})
        with torch.inference_mode():
            wanted_HW = judge.predict(module, picture.pixels[None].float() / 255)[0].numpy()
        assert (ids_HW == wanted_HW).mean() > 0.999
    (plain,) = SegmentConfig(model="unet-camvid").identity().values()
    assert not {"flip", "scales", "window_px", "overlap"} & set(plain)
    (averaged,) = SegmentConfig(model="unet-camvid", flip=True).identity().values()
    assert averaged["flip"] is True
