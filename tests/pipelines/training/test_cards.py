"""The card of what a training made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.splits import split
from pixelmill.workers.codecs.encode import encode_png
from pixelmill.workers.models.card import read_card
from pixelmill.workers.models.palette import class_colours
from pixelmill.workers.models.picture_model import Classes
from pixelmill.workers.recipes.registry import recipe_type
from tests.pipelines.training.trainings import plan_of, train


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


def test_names_of_classes_travel_from_the_data_to_the_checkpoint(pictures: str, tmp_path: Path) -> None:
    found = split(recipe_type("fcn").ROLES, [str(labelled_pictures(tmp_path / "data"))], [], 4, 0, Access())
    settings: dict[str, object] = {"steps": 1, "batch": 2, "width": 1, "fc_width": 2}
    plan = plan_of(pictures, tmp_path / "out")
    train(replace(plan, recipe="fcn", settings=settings, train=found.train, held_out=found.held_out))
    names = ("soil", "root")
    assert read_card(tmp_path / "out").classes == Classes(names, class_colours(names))
