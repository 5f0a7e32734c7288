"""Trained on photographs and label files, kept with its classes, and loaded by the stage that synthesizes: one road."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.splits import split
from pixelmill.workers.codecs.encode import encode_png
from pixelmill.workers.models.card import read_card
from pixelmill.workers.models.picture_model import Classes
from pixelmill.workers.pictures import Picture
from pixelmill.workers.recipes.crn import LabelledCrnRecipe
from pixelmill.workers.recipes.registry import recipe_of
from pixelmill.workers.stages import StageContext, config_class
from tests.in_process_training import training_of
from tests.saved_networks import saved_vgg

GARDEN = {"lawn": (0, 200, 0), "path": (200, 200, 200), "pond": (10, 90, 90)}
SETTINGS = {
    "vgg": "vgg.safetensors",
    "start_px": (2, 2),
    "widths": (8, 8, 8, 8, 8),
    "batch": 2,
    "steps": 3,
    "loss": "l2",
    "layer_weights": (1.0,) * 6,
}


def garden(folder: Path, count: int = 6) -> None:
    """Photographs whose colours tell the ids of their label files."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        ids_HW = np.random.default_rng(number).integers(0, 3, (8, 8), np.uint8)
        (folder / "labels" / f"{number}.png").write_bytes(encode_png(ids_HW))
        photo_HWC = np.array([(60, 140, 60), (150, 140, 130), (40, 60, 120)], np.uint8)[ids_HW]
        (folder / "images" / f"{number}.png").write_bytes(encode_png(photo_HWC))
    named = {"classes": list(GARDEN), "colours": list(GARDEN.values())}
    (folder / "classes.json").write_text(json.dumps(named))


def test_classes_of_label_files_go_from_the_data_to_the_card_and_to_the_stage(tmp_path: Path) -> None:
    garden(tmp_path / "data")
    data = split(LabelledCrnRecipe.ROLES, [str(tmp_path / "data")], [], 2, 0, Access())
    out, assets = tmp_path / "out", {"vgg": saved_vgg()}
    training = training_of("crn-labels", SETTINGS | {"palette": None}, data.train, data.held_out, out, 1, assets=assets)
    training.run()
    card = read_card(out)
    assert card.classes == Classes(tuple(GARDEN), tuple(GARDEN.values()))
    judge = recipe_of(card, {}, assets)
    assert isinstance(judge, LabelledCrnRecipe)
    assert judge.palette == GARDEN
    stage = config_class("synthesize").model_validate({"model": str(out)}).build(StageContext("cpu", 1, 1, None))
    ids_HW = np.random.default_rng(9).integers(0, 3, (8, 8), np.uint8)
    drawn_HWC = np.array(list(GARDEN.values()), np.uint8)[ids_HW]
    layouts = (
        Picture(torch.from_numpy(ids_HW)[None], "ids8"),
        Picture(torch.from_numpy(drawn_HWC).permute(2, 0, 1)),
    )
    first, second = stage.run([stage.prepare(layout) for layout in layouts]).pictures
    assert first is not None
    assert second is not None
    assert torch.equal(first.pixels, second.pixels)
