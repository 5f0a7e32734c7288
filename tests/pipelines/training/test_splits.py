"""What is trained on is never judged by."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.layouts.registry import find, layout_of
from pixelmill.pipelines.training.splits import parts_of, split, to_evaluate
from pixelmill.workers.errors import DataError
from tests.pipelines.training.trainings import PICTURES


def test_nothing_that_was_trained_on_is_evaluated_on(pictures: str, tmp_path: Path) -> None:
    found = split(layout_of("pictures").ROLES, [pictures], [], 4, 0, Access())
    trained_on = frozenset(found.train.fingerprints())
    copied = tmp_path / "elsewhere"
    copied.mkdir()
    for file in Path(pictures).iterdir():
        (copied / file.name).write_bytes(file.read_bytes())
    judged, says = to_evaluate(layout_of("pictures").ROLES, [str(copied)], "auto", trained_on, Access())
    assert len(judged) == 4
    assert "20 that were trained on" in says
    assert len(to_evaluate(layout_of("pictures").ROLES, [str(copied)], "all", trained_on, Access())[0]) == PICTURES
    with pytest.raises(DataError, match="trained on every sample"):
        to_evaluate(
            layout_of("pictures").ROLES,
            [str(copied)],
            "auto",
            frozenset(find(layout_of("pictures").ROLES, [str(copied)], Access()).fingerprints()),
            Access(),
        )


@pytest.mark.parametrize(("hold_out", "held"), [(0.25, 6), (5, 5)])
def test_hold_out_divides_without_overlap(pictures: str, hold_out: float, held: int) -> None:
    found = split(layout_of("pictures").ROLES, [pictures], [], hold_out, 0, Access())
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
    found = split(layout_of("classes").ROLES, [str(tmp_path / "data")], [], 0.1, 0, Access())
    assert found.held_out is not None
    assert found.train.labels is not None
    assert found.held_out.labels is not None
    assert found.train.labels.tolist() == [0, 1, 2, 2]
    assert found.held_out.labels.tolist() == [1, 2]
    judged, _ = to_evaluate(
        layout_of("classes").ROLES, [str(tmp_path / "data")], "auto", frozenset(), Access(), found.train.classes
    )
    assert judged.labels is not None
    assert judged.labels.tolist() == [1, 2]
    with pytest.raises(DataError, match="the folder cat is a class that was not trained on; there are ape, bee"):
        to_evaluate(layout_of("classes").ROLES, [str(tmp_path / "data")], "auto", frozenset(), Access(), ["ape", "bee"])


def test_held_out_pictures_without_a_part_to_train_on_are_refused(tmp_path: Path) -> None:
    data = folders(tmp_path / "data", val=2, pictures=2)
    with pytest.raises(DataError, match="has val and no train"):
        split(layout_of("pictures").ROLES, [data], [], 0.1, 0, Access())


def test_a_table_is_a_part_by_its_whole_first_word(tmp_path: Path) -> None:
    for name in ("train-0.parquet", "train-1.parquet", "values.parquet", "validation.parquet"):
        (tmp_path / name).touch()
    parts = parts_of(str(tmp_path), Access())
    assert [parts[role].rpartition("/")[2] for role in ("train", "held_out")] == [
        "train[-_.0-9]*.parquet",
        "validation.parquet",
    ]


def test_one_table_among_shards_of_its_name_is_refused(tmp_path: Path) -> None:
    for name in ("train.parquet", "train-1.parquet"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match="and 1 more tables of that name"):
        parts_of(str(tmp_path), Access())
