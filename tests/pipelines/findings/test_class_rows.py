"""Classes of a run: by a classifier, by any column, by the folders of the source, and nothing where nothing divides the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pixelmill.pipelines.findings.class_rows import Classes, classes_of
from pixelmill.pipelines.outputs.columns import INPUT_FIELDS
from pixelmill.pipelines.outputs.encoding import Compression
from pixelmill.pipelines.outputs.publishing import publish
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError
from tests.pipelines.findings.explored import TEXTS, open_out

FIELDS = [pa.field("class_name", pa.list_(pa.string())), pa.field("label", pa.int8()), pa.field("is_day", pa.bool_())]


def run_of(
    root: Path, places: Sequence[str], fields: Sequence[pa.Field[Any]] = (), **columns: Sequence[object]
) -> Folder:
    """A run of two parts with a row for each place, URI or URI#MEMBER."""
    out = open_out(root)
    rows: list[dict[str, object]] = []
    for number, place in enumerate(places):
        uri, _, member = place.partition("#")
        own = {name: values[number] for name, values in columns.items()}
        rows.append({"id": f"id-{number:02d}", "uri": uri, "member": member or None, **own})
    schema = pa.schema([*INPUT_FIELDS, *fields, *TEXTS])
    half = len(rows) // 2
    for part, some in enumerate((rows[:half], rows[half:])):
        publish(out, f"part-{part:06d}", pa.Table.from_pylist(some, schema), {}, Compression())
    return out


def summary(found: Classes | None) -> tuple[str, Mapping[str, int], int]:
    assert found is not None
    return found.by, {each.name: each.rows for each in found.largest}, found.others


def test_folders_are_classes_by_their_path_below_the_shared_one(tmp_path: Path) -> None:
    places = [
        f"s3://pets/all/{folder}/{n}.jpg" for folder in ("dog", "cat/old", "dog", "cat/old", "dog") for n in range(2)
    ]
    found = classes_of(run_of(tmp_path, places), None, 8, 3)
    assert summary(found) == ("folder", {"dog": 6, "cat/old": 4}, 0)
    assert found is not None
    assert [len(each.ids) for each in found.largest] == [3, 3]
    dogs = {f"id-{number:02d}" for number, place in enumerate(places) if "/dog/" in place}
    assert {*found.largest[0].ids} <= dogs


def test_folders_within_archives_are_classes_and_archives_are_none(tmp_path: Path) -> None:
    within = [f"s3://b/{n % 2}.tar#train/{'ab'[n % 2]}/{n}.jpg" for n in range(8)]
    assert summary(classes_of(run_of(tmp_path / "within", within), None, 8, 3)) == ("folder", {"a": 4, "b": 4}, 0)
    flat = [f"s3://b/{n % 2}.tar#{n}.jpg" for n in range(8)]
    assert classes_of(run_of(tmp_path / "flat", flat), None, 8, 3) is None


@pytest.mark.parametrize("places", [["in/a.jpg"] * 4, [f"in/{n}/a.jpg" for n in range(4)]])
def test_one_folder_or_a_folder_for_each_row_divides_nothing_unless_asked(tmp_path: Path, places: list[str]) -> None:
    run = run_of(tmp_path, places)
    assert classes_of(run, None, 8, 3) is None
    assert summary(classes_of(run, "folder", 2, 3))[0] == "folder"


def test_what_a_classifier_found_comes_before_the_folders(tmp_path: Path) -> None:
    places = [f"in/{n % 2}/{n}.jpg" for n in range(6)]
    names = [["car", "bus"], ["bus", "car"], ["car", "bus"], None, [], ["car", "bus"]]
    run = run_of(tmp_path, places, FIELDS, class_name=names)
    assert summary(classes_of(run, None, 8, 3)) == ("class_name", {"car": 3, "bus": 1}, 0)
    assert summary(classes_of(run, "folder", 8, 3)) == ("folder", {"0": 3, "1": 3}, 0)


def test_numbers_and_truths_are_classes_too_and_others_are_counted(tmp_path: Path) -> None:
    places = [f"in/{n}.jpg" for n in range(6)]
    run = run_of(tmp_path, places, FIELDS, label=[7, 7, 7, 3, 3, 1], is_day=[True, False, True, True, None, True])
    assert summary(classes_of(run, "label", 2, 1)) == ("label", {"7": 3, "3": 2}, 1)
    assert summary(classes_of(run, "is_day", 8, 1)) == ("is_day", {"yes": 4, "no": 1}, 0)


def test_the_same_rows_are_drawn_again_and_others_by_another_seed(tmp_path: Path) -> None:
    run = run_of(tmp_path, [f"in/{n % 2}/{n}.jpg" for n in range(60)])
    drawn = [classes_of(run, None, 8, 5, seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_column_that_holds_no_classes_is_named_beside_those_that_do(tmp_path: Path) -> None:
    run = run_of(tmp_path, ["in/a.jpg", "in/b.jpg"], FIELDS)
    with pytest.raises(
        JobError, match=r"uri is no column of classes; there are folder, width, height, class_name, label, is_day"
    ):
        classes_of(run, "uri", 8, 3)
