"""A sample that a training used is recognised, and its namesake in another part is not."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.layouts.registry import find, layout_of
from pixelmill.pipelines.training.marks import are_marked, marks_of


def one_picture(folder: Path) -> DataSet:
    folder.mkdir(parents=True)
    Image.new("L", (8, 8)).save(folder / "0001.png")
    return find(layout_of("pictures").ROLES, [str(folder)], Access())


def test_files_of_one_name_and_size_in_two_parts_are_two_samples(tmp_path: Path) -> None:
    train, val = one_picture(tmp_path / "set/train"), one_picture(tmp_path / "set/val")
    assert train.fingerprints() == val.fingerprints()
    assert are_marked(train, marks_of(train)) == [True]
    assert are_marked(val, marks_of(train)) == [False]
    assert are_marked(one_picture(tmp_path / "copy/training"), marks_of(train)) == [True]


def test_a_copy_of_data_without_parts_is_recognised_wherever_it_lies_also_by_marks_of_earlier_versions(
    tmp_path: Path,
) -> None:
    plain, copied = one_picture(tmp_path / "photos"), one_picture(tmp_path / "copy/train")
    assert marks_of(plain) == tuple(plain.fingerprints())
    assert are_marked(copied, marks_of(plain)) == [True]


def test_no_data_has_no_marks() -> None:
    assert marks_of(None) == ()
