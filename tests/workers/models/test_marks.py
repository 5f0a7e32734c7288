"""The marks of a checkpoint's samples travel in a file beside its weights, and the card holds none of them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.card import Card, read_card
from pixelmill.workers.models.checkpoint import load_checkpoint, save_checkpoint
from pixelmill.workers.models.marks import marks_file, require_marks
from pixelmill.workers.networks.autoencoder import ConvAutoencoder
from tests.workers.saved import CONFIG, card_of, make_card, weights_of

TRAINED, SELECTED = ("0000000a", "deadbeef"), ("00000001",)


def saved(path: Path, **marks: object) -> Card:
    card = make_card(config=asdict(CONFIG), **marks)
    save_checkpoint(path, ConvAutoencoder(CONFIG), card)
    return card


@pytest.mark.parametrize("name", ["folder", "named.safetensors"])
@pytest.mark.parametrize("selected", [SELECTED, (), None])
def test_marks_come_back_with_the_checkpoint_and_are_not_in_its_card(
    tmp_path: Path, name: str, selected: tuple[str, ...] | None
) -> None:
    path = tmp_path / name
    card = saved(path, trained_on=TRAINED, selected_on=selected)
    assert load_checkpoint(path)[1] == card
    text = card_of(path).read_text()
    assert "deadbeef" not in text
    assert marks_file(weights_of(path)).exists()
    assert read_card(path).marks_sha256 == json.loads(text)["marks_sha256"]
    require_marks("it", load_checkpoint(path)[1])


def test_many_marks_make_a_card_no_longer(tmp_path: Path) -> None:
    saved(tmp_path, trained_on=tuple(f"{number:08x}" for number in range(100_000)))
    assert card_of(tmp_path).stat().st_size < 2000
    assert marks_file(weights_of(tmp_path)).stat().st_size < 401_000


@pytest.mark.parametrize("damage", ["gone", "another's", "cut"])
def test_without_its_marks_a_checkpoint_loads_and_is_refused_where_they_are_needed(tmp_path: Path, damage: str) -> None:
    saved(tmp_path / "a", trained_on=TRAINED)
    file = marks_file(weights_of(tmp_path / "a"))
    if damage == "gone":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    else:
        saved(tmp_path / "b", trained_on=SELECTED)
        file.write_bytes(marks_file(weights_of(tmp_path / "b")).read_bytes())
    _, card = load_checkpoint(tmp_path / "a")
    assert card.trained_on == ()
    with pytest.raises(ModelError, match=r"a: the \*\.marks file .* is missing or another's; copy it"):
        require_marks("a", card)


@pytest.mark.parametrize("marks", [{}, {"trained_on": ("a mark of another kind",)}])
def test_a_card_keeps_what_makes_no_file(tmp_path: Path, marks: dict[str, object]) -> None:
    card = saved(tmp_path, **marks)
    assert read_card(tmp_path) == card == load_checkpoint(tmp_path)[1]
    assert not marks_file(weights_of(tmp_path)).exists()


def test_cards_of_earlier_versions_hold_their_marks_themselves(tmp_path: Path) -> None:
    saved(tmp_path)
    text = json.loads(card_of(tmp_path).read_text())
    del text["marks_sha256"]
    card_of(tmp_path).write_text(json.dumps(text | {"trained_on": list(TRAINED)}))
    _, card = load_checkpoint(tmp_path)
    assert card.trained_on == TRAINED
    require_marks("it", card)
