"""Classes of a checkpoint are named by its card, by its settings in older ones, or numbered."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.class_names import classes_of
from pixelmill.workers.models.loaded_checkpoint import Checkpoint
from pixelmill.workers.models.palette import CAMVID_COLOURS, class_colours
from pixelmill.workers.models.picture_model import Classes
from tests.workers.saved import make_card

NAMES = ("sky", "kiosk", "road")


def checkpoint(**card: Any) -> Checkpoint:
    return Checkpoint("streets", torch.nn.Identity(), make_card(**card), "0" * 64)


def test_names_and_colours_of_the_card_come_first() -> None:
    named = Classes(NAMES, ((1, 2, 3), (4, 5, 6), (7, 8, 9)))
    assert classes_of(checkpoint(classes=named, settings={"class_names": ["a", "b", "c"]}), 3) == named
    assert classes_of(checkpoint(classes=Classes(NAMES)), 3) == Classes(NAMES, class_colours(NAMES))


def test_an_older_card_has_them_among_its_settings_or_not_at_all() -> None:
    classes = classes_of(checkpoint(settings={"class_names": list(NAMES)}), 3)
    assert classes.names == NAMES
    assert classes.colours is not None
    assert classes.colours[0] == CAMVID_COLOURS["sky"]
    assert classes_of(checkpoint(settings={"class_names": None}), 3).names == ("0", "1", "2")


def test_more_or_fewer_names_than_classes_are_refused() -> None:
    with pytest.raises(
        ModelError, match="model streets: its card names 3 classes, and its network has 2; take weights and"
    ):
        classes_of(checkpoint(classes=Classes(NAMES)), 2)
