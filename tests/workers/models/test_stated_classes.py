"""The laws of a card's classes: read from JSON alone as loading reads them, and part of what a checkpoint is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pixelmill.workers.drawn_classes import FACADES
from pixelmill.workers.models.libraries import load_model, resolve
from pixelmill.workers.models.picture_model import Classes
from pixelmill.workers.models.stated_classes import StatedClasses, classes_in
from tests.saved_networks import saved


@pytest.mark.parametrize(
    ("written", "stated"),
    [
        ({"classes": {"names": ["a", "b"], "colours": None}}, StatedClasses(("a", "b"))),
        ({"classes": {"names": ["a"], "colours": [[1, 2, 3]]}}, StatedClasses(("a",), ((1, 2, 3),))),
        ({"settings": {"class_names": ["a", "b"]}}, StatedClasses(("a", "b"))),
        ({"recipe": "crn", "config": {"classes": 12}}, StatedClasses(tuple(FACADES), tuple(FACADES.values()))),
        ({"recipe": "crn", "config": {"classes": 3}}, None),
        ({"classes": None, "settings": None, "config": None}, None),
        ({"classes": "all"}, None),
    ],
)
def test_classes_are_read_from_every_form_of_card(written: dict[str, Any], stated: StatedClasses | None) -> None:
    assert classes_in(written) == stated


def test_they_are_the_classes_of_the_loaded_network() -> None:
    name = resolve("segnet-camvid", "segment")
    assert name.classes is not None
    assert load_model(name, "segment").classes == Classes(name.classes.names, name.classes.colours)  # type: ignore[arg-type]


def test_other_names_or_colours_are_another_model_and_other_tasks_do_not_see_them(tmp_path: Path) -> None:
    def made(names: tuple[str, ...], colours: Any = None) -> Path:
        place = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        return saved("segnet", str(place), Classes(names, colours), classes=2, variant="basic", width=2)

    first, renamed, recoloured = made(("a", "b")), made(("a", "c")), made(("a", "b"), ((0, 0, 0), (1, 1, 1)))
    assert json.dumps(resolve(str(first), "segment").identity).count('"b"') == 1
    identities = [resolve(str(file), "segment").identity for file in (first, renamed, recoloured)]
    shown = [{key: value for key, value in each.items() if key != "model"} for each in identities]
    assert shown[0] != shown[1] != shown[2] != shown[0]
    assert len({each["weights_sha256"] for each in shown}) == 1
    assert "classes" not in resolve(str(first), "embed").identity
