"""A checkpoint that ships is found by its name alone, with its card, and no other file is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pixelmill.workers.models import zoo
from pixelmill.workers.models.card import read_card
from pixelmill.workers.models.marks import joined
from pixelmill.workers.models.palette import CAMVID_COLOURS
from pixelmill.workers.models.picture_model import Classes

REPOSITORY = Path(__file__).parents[3]


def test_every_name_leads_to_its_weights_and_a_card_beside_them() -> None:
    names = zoo.zoo_names()
    assert names == sorted(set(names)) != []
    paths = [zoo.zoo_path(name) for name in names]
    assert paths == [zoo.ZOO / f"{name}.safetensors" for name in names]
    assert all((zoo.ZOO / f"{name}.json").is_file() for name in names)


def test_cards_of_camvid_name_its_classes_in_the_order_of_their_ids() -> None:
    for name in ("segnet-camvid", "fcn8s-camvid", "unet-camvid"):
        card = read_card(zoo.ZOO / f"{name}.safetensors")
        assert card.classes == Classes(tuple(CAMVID_COLOURS), tuple(CAMVID_COLOURS.values()))
        assert card.config["classes"] == len(CAMVID_COLOURS)
        assert [key.removeprefix("iou_") for key in card.metrics if key.startswith("iou_")] == list(CAMVID_COLOURS)


def test_a_checkpoint_has_10_mb_at_most_and_all_have_64() -> None:
    sizes = {path.name: path.stat().st_size for path in zoo.ZOO.iterdir() if path.suffix != ".md"}
    assert max(sizes.values()) <= 10_000_000
    assert sum(sizes.values()) <= 64_000_000


def test_every_checkpoint_says_what_it_was_trained_on_and_what_selected_its_step() -> None:
    for name in zoo.zoo_names():
        weights = zoo.ZOO / f"{name}.safetensors"
        card = joined(read_card(weights), weights)
        assert card.trained_on
        assert card.selected_on
        assert not set(card.trained_on) & set(card.selected_on)


def test_the_names_are_those_of_the_weights_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "ZOO", tmp_path)
    for name in ("b.safetensors", "a.safetensors", "a.json", "README.md"):
        (tmp_path / name).touch()
    assert zoo.zoo_names() == ["a", "b"]
    assert zoo.zoo_path("a") == tmp_path / "a.safetensors"
    assert zoo.zoo_path("README") is None


def test_a_name_never_leads_out_of_the_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "zoo"
    inside.mkdir()
    monkeypatch.setattr(zoo, "ZOO", inside)
    for path in (tmp_path / "own.safetensors", inside / "two words.safetensors"):
        path.touch()
    assert [zoo.zoo_path(name) for name in ("../own", str(tmp_path / "own"), "two words", "", "own")] == [None] * 5


def test_asking_for_a_checkpoint_imports_no_torch() -> None:
    program = "import sys; from pixelmill.workers.models.zoo import zoo_names; print(len(zoo_names()), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(zoo.zoo_names())), "False"]
