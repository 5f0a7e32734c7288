"""Three parts without overlap: one is trained on, one selects the step, and the figures are of the third."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.layouts.registry import layout_of
from pixelmill.pipelines.training.splits import Split, parts_of, split
from pixelmill.pipelines.training.unseen import Seen, to_evaluate
from pixelmill.workers.errors import DataError
from tests.pipelines.training.trainings import PICTURES

ROLES = layout_of("pictures").ROLES


@pytest.mark.parametrize(("hold_out", "held"), [(0.25, 6), (5, 5)])
def test_hold_out_divides_without_overlap(pictures: str, hold_out: float, held: int) -> None:
    found = split(ROLES, [pictures], [], hold_out, 0, Access())
    assert found.held_out is not None
    train, out = set(found.train.names()), set(found.held_out.names())
    assert len(out) == held
    assert not train & out
    assert len(train | out) == PICTURES
    if hold_out >= 1:
        assert min(out) > max(train)


def folders(root: Path, **counts: int) -> str:
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.new("L", (8, 8), number).save(root / name / f"{number}.png")
    return str(root)


def test_a_class_has_one_number_in_every_part(tmp_path: Path) -> None:
    folders(tmp_path / "data/train", ape=1, bee=1, cat=2)
    folders(tmp_path / "data/val", bee=1, cat=1)
    roles, data, seen = layout_of("classes").ROLES, str(tmp_path / "data"), Seen(None, None)
    found = split(roles, [data], [], 1, 0, Access())
    assert found.held_out is not None
    assert found.test is not None
    labels = [each.labels.tolist() for each in (found.train, found.held_out, found.test) if each.labels is not None]
    assert labels == [[0, 1, 2], [2], [1, 2]]
    judged = to_evaluate(roles, [data], "auto", seen, Access(), found.train.classes).data
    assert judged.labels is not None
    assert judged.labels.tolist() == [1, 2]
    with pytest.raises(DataError, match="the folder cat is a class that was not trained on; there are ape, bee"):
        to_evaluate(roles, [data], "auto", seen, Access(), ["ape", "bee"])


def sizes(found: Split) -> tuple[int, ...]:
    return tuple(len(part or ()) for part in (found.train, found.held_out, found.test))


DRAWN = "of 8 training samples, drawn with seed 0"
LAST = "of 8 training samples, the last by name"


@pytest.mark.parametrize(
    ("counts", "hold_out", "expected", "selected", "tested"),
    [
        ({"train": 8, "val": 3, "test": 2}, 0.25, (8, 3, 2), "val", "test"),
        ({"train": 8, "val": 3}, 0.25, (6, 2, 3), f"2 {DRAWN}", "val"),
        ({"train": 8, "test": 2}, 3, (5, 3, 2), f"3 {LAST}", "test"),
        ({"train": 8, "test": 2}, 0.01, (7, 1, 2), f"1 {DRAWN}", "test"),
        ({"train": 8, "test": 2}, 0, (8, 0, 2), "", "test"),
        ({"train": 8}, 2, (6, 2, 0), f"2 {LAST}", ""),
        ({"train": 8}, 0, (8, 0, 0), "", ""),
    ],
)
def test_a_single_other_part_tests_and_validation_comes_from_train(
    tmp_path: Path, counts: dict[str, int], hold_out: float, expected: tuple[int, ...], selected: str, tested: str
) -> None:
    found = split(ROLES, [folders(tmp_path, **counts)], [], hold_out, 0, Access())
    says = [selected and f"the step is selected on {selected}", tested and f"tested on {tested}"]
    assert (sizes(found), found.says) == (expected, "; ".join(filter(None, says)) or "nothing is held out")
    parts = [set(part.names()) for part in (found.train, found.held_out, found.test) if part is not None]
    assert len(set[str]().union(*parts)) == sum(counts.values())


def test_places_that_are_named_come_before_folders(tmp_path: Path) -> None:
    data = folders(tmp_path / "set", train=8, val=3)
    other = folders(tmp_path / "other", test=2)
    assert sizes(split(ROLES, [data], [], 0.25, 0, Access(), [other])) == (8, 3, 2)
    assert sizes(split(ROLES, [data], [other], 0.25, 0, Access())) == (8, 2, 3)
    same = split(ROLES, [data], [f"{data}/val"], 0.25, 0, Access())
    assert (sizes(same), same.says) == ((8, 3, 0), "the step is selected on data of its own")
    plain = folders(tmp_path / "plain/pictures", a=4)
    assert sizes(split(ROLES, [plain], [], 1, 0, Access(), [other])) == (3, 1, 2)


def test_a_number_takes_the_test_part_first_so_that_it_is_the_end_of_a_video(pictures: str) -> None:
    found = split(ROLES, [pictures], [], 4, 0, Access(), 5.0)
    assert sizes(found) == (15, 4, 5)
    assert found.held_out is not None
    assert found.test is not None
    assert (
        max(found.train.names()) < min(found.held_out.names()) < max(found.held_out.names()) < min(found.test.names())
    )
    with pytest.raises(DataError, match="test 24 of 24 samples leaves nothing on one side"):
        split(ROLES, [pictures], [], 4, 0, Access(), 24.0)


def test_the_first_protocol_reports_what_it_selected(tmp_path: Path) -> None:
    data = folders(tmp_path, train=8, val=3)
    found = split(ROLES, [data], [], 0.25, 0, Access(), protocol=1)
    assert (sizes(found), found.says) == ((8, 3, 0), "trained on train, judged on val")
    with pytest.raises(DataError, match="leaves nothing on one side"):
        split(ROLES, [f"{data}/train"], [], 0.01, 0, Access(), protocol=1)


def test_held_out_pictures_without_a_part_to_train_on_are_refused(tmp_path: Path) -> None:
    data = folders(tmp_path / "data", val=2, pictures=2)
    with pytest.raises(DataError, match="has val and no train"):
        split(ROLES, [data], [], 0.1, 0, Access())


def test_a_table_is_a_part_by_its_whole_first_word(tmp_path: Path) -> None:
    for name in ("train-0.parquet", "train-1.parquet", "values.parquet", "validation.parquet"):
        (tmp_path / name).touch()
    parts = parts_of(str(tmp_path), Access())
    assert [parts[role].rpartition("/")[2] for role in ("train", "val")] == [
        "train[-_.0-9]*.parquet",
        "validation.parquet",
    ]


def test_one_table_among_shards_of_its_name_is_refused(tmp_path: Path) -> None:
    for name in ("train.parquet", "train-1.parquet"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match="and 1 more tables of that name"):
        parts_of(str(tmp_path), Access())
