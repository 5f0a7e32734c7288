"""A card is whole, describes its network and names no path of the machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.card import Card, read_card
from pixelmill.workers.models.checkpoint import load_checkpoint
from pixelmill.workers.models.picture_model import Classes
from tests.workers.saved import card_of, make_card, weights_of


def test_missing_weights_and_a_missing_card_are_reported_apart(saved: Path) -> None:
    weights = weights_of(saved).rename(weights_of(saved).with_suffix(".away"))
    with pytest.raises(ModelError, match="no such file"):
        load_checkpoint(saved)
    weights.rename(weights_of(saved))
    card_of(saved).unlink()
    with pytest.raises(ModelError, match=f"its card {card_of(saved).name} is missing"):
        load_checkpoint(saved)
    weights_of(saved).unlink()
    with pytest.raises(ModelError, match=r"no such checkpoint; .* one that ships: autoencoder-"):
        load_checkpoint(saved)


LATER = {"classes", "initialised_from", "marks_sha256", "selected_on", "test_metrics"}
"""Fields that earlier versions did not write."""


@pytest.mark.parametrize("field", sorted(Card.model_fields.keys() - LATER))
def test_every_field_of_a_card_is_required(saved: Path, field: str) -> None:
    card = json.loads(card_of(saved).read_text(encoding="utf-8"))
    del card[field]
    card_of(saved).write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(ModelError, match=rf"{field}: Field required"):
        read_card(saved)


@pytest.mark.parametrize("field", sorted(LATER))
def test_a_card_from_before_a_field_was_kept_has_none(saved: Path, field: str) -> None:
    card = json.loads(card_of(saved).read_text(encoding="utf-8"))
    assert field in card
    del card[field]
    card_of(saved).write_text(json.dumps(card), encoding="utf-8")
    assert getattr(read_card(saved), field) is None


def test_classes_come_back_as_they_were_saved(saved: Path) -> None:
    classes = Classes(("sky", "road"), ((1, 2, 3), (4, 5, 6)))
    card_of(saved).write_text(make_card(classes=classes).model_dump_json(), encoding="utf-8")
    assert read_card(saved).classes == classes


@pytest.mark.parametrize(
    ("colours", "message"),
    [
        ([[1, 2, 3]], "1 colours for 2 classes"),
        ([[1, 2, 3], [4, 5, 256]], "from 0 to 255"),
        ([[1, 2], [4, 5]], "colours"),
    ],
    ids=str,
)
def test_colours_that_can_not_be_shown_are_refused(saved: Path, colours: list[list[int]], message: str) -> None:
    card = json.loads(card_of(saved).read_text(encoding="utf-8"))
    card["classes"] = {"names": ["sky", "road"], "colours": colours}
    card_of(saved).write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        read_card(saved)


@pytest.mark.parametrize("text", ["/home/me/photos", "~/photos", "C:\\photos", "D:/photos", "file:///photos"])
@pytest.mark.parametrize("field", ["data", "split", "settings"])
def test_a_card_holds_no_path_of_the_machine(field: str, text: str) -> None:
    with pytest.raises(ValidationError, match="path of one machine"):
        make_card(**{field: {"from": [text]} if field == "settings" else text})
