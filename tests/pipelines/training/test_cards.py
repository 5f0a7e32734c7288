"""The card of what a training made."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.splits import split
from pixelmill.workers.codecs.encode import encode_png
from pixelmill.workers.models.card import read_card
from pixelmill.workers.models.checkpoint import save_checkpoint
from pixelmill.workers.models.palette import class_colours
from pixelmill.workers.models.picture_model import Classes
from pixelmill.workers.networks.autoencoder import ConvAutoencoder
from pixelmill.workers.pictures import Picture
from pixelmill.workers.recipes.registry import recipe_type
from pixelmill.workers.stages import StageContext
from pixelmill.workers.stages.classify import ClassifyConfig
from pixelmill.workers.stages.segment import SegmentConfig
from tests.pipelines.training.drawn import draw
from tests.pipelines.training.trainings import plan_of, train
from tests.workers.saved import CONFIG, make_card

CONTEXT = StageContext(device="cpu", threads=1, job_images=1, cache_dir=None)
PICTURE = Picture(torch.arange(3 * 40 * 50, dtype=torch.uint8).reshape(3, 40, 50))


def test_facts_that_settings_stand_for_are_on_the_card(pictures: str, tmp_path: Path) -> None:
    made = train(plan_of(pictures, tmp_path / "out"))
    made.progress.prepared = {"latent_size": 7, "stranger": 1}
    settings = made.card().settings
    assert settings["latent_size"] == 7
    assert "stranger" not in settings
    assert made.card().classes is None


def labelled_pictures(folder: Path) -> Path:
    """Pictures that are bright where their label is 1."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for number in range(8):
        ids_HW = np.random.default_rng(number).integers(0, 2, (32, 32), np.uint8)
        (folder / "images" / f"{number}.png").write_bytes(encode_png(np.stack([100 * ids_HW] * 3, axis=2)))
        (folder / "labels" / f"{number}.png").write_bytes(encode_png(ids_HW))
    (folder / "classes.json").write_text('{"classes": ["soil", "root"]}')
    return folder


def trained(pictures: str, out: Path, recipe: str, data: Path, settings: dict[str, object]) -> str:
    """What a training of one step leaves in its folder."""
    found = split(recipe_type(recipe).ROLES, [str(data)], [], 4, 0, Access())
    plan = replace(plan_of(pictures, out), recipe=recipe, train=found.train, held_out=found.held_out)
    train(replace(plan, settings={"steps": 1, "batch": 2} | settings))
    return str(out)


def test_names_of_classes_travel_from_the_data_to_the_masks(pictures: str, tmp_path: Path) -> None:
    data = labelled_pictures(tmp_path / "data")
    out = trained(pictures, tmp_path / "out", "fcn", data, {"width": 1, "fc_width": 2})
    names = ("soil", "root")
    assert read_card(Path(out)).classes == Classes(names, class_colours(names))
    stage = SegmentConfig(model=out).build(CONTEXT)
    assert json.loads(stage.fields[0].metadata[b"classes"]) == list(names)
    assert not stage.run([stage.prepare(PICTURE)]).errors


@pytest.mark.parametrize("recipe", ["finetune", "finetune-dense"])
def test_names_of_classes_travel_from_the_data_to_a_fine_tuned_network(
    pictures: str, tmp_path: Path, recipe: str
) -> None:
    autoencoder = tmp_path / "autoencoder"
    save_checkpoint(autoencoder, ConvAutoencoder(CONFIG), make_card(config=asdict(CONFIG)))
    settings: dict[str, object] = {"checkpoint": str(autoencoder)}
    if recipe == "finetune":
        data = Path(
            draw(tmp_path / "data", *(f"{name}/{number}.png" for name in ("cat", "dog") for number in range(4)))
        )
        out = trained(pictures, tmp_path / "out", recipe, data, settings | {"size_px": 32})
        classify = ClassifyConfig(model=out).build(CONTEXT)
        (named,) = classify.run([classify.prepare(PICTURE)]).columns["class_name"].to_pylist()  # type: ignore[union-attr]
        assert sorted(named) == ["cat", "dog"]
    else:
        out = trained(pictures, tmp_path / "out", recipe, labelled_pictures(tmp_path / "data"), settings)
        segment = SegmentConfig(model=out).build(CONTEXT)
        assert json.loads(segment.fields[0].metadata[b"classes"]) == ["soil", "root"]
        assert not segment.run([segment.prepare(PICTURE)]).errors
