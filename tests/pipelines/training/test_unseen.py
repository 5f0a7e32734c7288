"""What is trained on, or selected the step, is never evaluated on without a sentence that says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.layouts.registry import find, layout_of
from pixelmill.pipelines.training.splits import split
from pixelmill.pipelines.training.unseen import Seen, to_evaluate
from pixelmill.workers.errors import DataError
from tests.pipelines.training.trainings import PICTURES
from tests.workers.saved import make_card

ROLES = layout_of("pictures").ROLES
NOTHING: frozenset[str] = frozenset()


def test_nothing_that_was_trained_on_is_evaluated_on(pictures: str, tmp_path: Path) -> None:
    found = split(ROLES, [pictures], [], 4, 0, Access())
    seen = Seen(frozenset(found.train.fingerprints()), NOTHING)
    copied = tmp_path / "elsewhere"
    copied.mkdir()
    for file in Path(pictures).iterdir():
        (copied / file.name).write_bytes(file.read_bytes())
    unseen = to_evaluate(ROLES, [str(copied)], "auto", seen, Access())
    assert len(unseen.data) == 4
    assert unseen.says == "4 samples there, without 20 that were trained on"
    everything = to_evaluate(ROLES, [str(copied)], "all", seen, Access())
    assert (len(everything.data), everything.trained_on) == (PICTURES, 20)
    assert everything.says == "everything there is; of these 20 were trained on: the figures are too good"
    whole = Seen(frozenset(find(ROLES, [str(copied)], Access()).fingerprints()), NOTHING)
    with pytest.raises(DataError, match="trained on every sample"):
        to_evaluate(ROLES, [str(copied)], "auto", whole, Access())


def test_what_selected_the_step_is_left_out_where_there_is_more_and_named_where_there_is_not(pictures: str) -> None:
    found = split(ROLES, [pictures], [], 4, 0, Access(), test=6.0)
    assert found.held_out is not None
    assert found.test is not None
    seen = Seen(frozenset(found.train.fingerprints()), frozenset(found.held_out.fingerprints()))
    unseen = to_evaluate(ROLES, [pictures], "auto", seen, Access())
    assert unseen.data.names() == found.test.names()
    assert unseen.says == "6 samples there, without 14 that were trained on and 4 that the step was selected on"
    rest = seen.trained_on or NOTHING
    whole = Seen(rest, frozenset(find(ROLES, [pictures], Access()).fingerprints()) - rest)
    judged = to_evaluate(ROLES, [pictures], "auto", whole, Access())
    assert (len(judged.data), judged.trained_on, judged.selected_on) == (10, 0, 10)
    assert judged.says.endswith("of these 10 selected the step: the figures are too good")


def test_a_folder_that_was_trained_on_says_so(tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
        for number in range(4):
            Image.new("L", (8, 8), number).save(tmp_path / part / f"{number}.png")
    train = find(ROLES, [str(tmp_path / "train")], Access())
    seen = Seen(frozenset(train.fingerprints()), NOTHING)
    judged = to_evaluate(ROLES, [str(tmp_path)], "train", seen, Access())
    assert judged.says == "train; of these 4 were trained on: the figures are too good"


def test_a_card_without_marks_is_reported_as_one(pictures: str) -> None:
    seen = Seen.of(make_card(trained_on=(), selected_on=None))
    assert seen == Seen(None, None)
    says = to_evaluate(ROLES, [pictures], "all", seen, Access()).says
    assert "the card does not record what the network was trained on and selected its step on" in says
    assert Seen.of(make_card(trained_on=("ab",), selected_on=())) == Seen(frozenset({"ab"}), NOTHING)


def test_of_two_other_parts_the_test_part_is_evaluated_on(tmp_path: Path) -> None:
    for part, count in (("train", 4), ("val", 3), ("test", 2)):
        (tmp_path / part).mkdir()
        for number in range(count):
            Image.new("L", (8, 8), number).save(tmp_path / part / f"{number}.png")
    judged = to_evaluate(ROLES, [str(tmp_path)], "auto", Seen(frozenset({"0"}), NOTHING), Access())
    assert judged.says == "2 samples in test"
