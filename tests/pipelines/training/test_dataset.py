"""Samples that are found and not read yet: taken by index, named, fingerprinted, joined."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pixelmill.pipelines.inputs.entries import Entry
from pixelmill.pipelines.inputs.manifest_rows import table_of
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.dataset import CLASSES, DataSet, joined
from pixelmill.pipelines.training.layouts.registry import find
from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes.registry import recipe_type
from tests.pipelines.training.drawn import ACCESS, masks


def data_of(*entries: Entry, **changes: object) -> DataSet:
    return DataSet({"image": table_of(list(entries))}, Access(), **changes)  # type: ignore[arg-type]


def four(folder: str = "/data") -> list[Entry]:
    return [Entry(f"{folder}/{number}.png", size=100 + number) for number in range(4)]


def test_samples_are_taken_with_all_their_roles_and_their_labels() -> None:
    table = table_of(four())
    data = DataSet({"image": table, "mask": table_of(four("/masks"))}, Access(), np.array([0, 1, 0, 1]))
    taken = data.take([3, 0, 3])
    assert (len(taken), len(data)) == (3, 4)
    assert taken.names() == ["/data/3.png", "/data/0.png", "/data/3.png"]
    assert taken.roles["mask"]["uri"].to_pylist() == ["/masks/3.png", "/masks/0.png", "/masks/3.png"]
    assert taken.labels is not None
    assert taken.labels.tolist() == [1, 0, 1]
    assert len(data.take([])) == 0


def test_a_sample_is_named_by_its_uri_and_its_place_in_it() -> None:
    data = data_of(Entry("/0.tar", "a.png", "tar", 512, 10), Entry("/b.png", size=3))
    assert data.names() == ["/0.tar a.png", "/b.png"]


def test_a_copy_in_another_place_has_the_same_fingerprint_and_another_file_has_not() -> None:
    assert data_of(*four()).fingerprints() == data_of(*four("s3://bucket/copy")).fingerprints()
    others = data_of(
        Entry("/a.png", size=1), Entry("/a.png", size=2), Entry("/b.png", size=1), Entry("/a.png", "m", "tar", 0, 1)
    )
    assert len(set(others.fingerprints())) == 4
    assert all(len(each) == 8 and int(each, 16) >= 0 for each in others.fingerprints())


def test_samples_of_archives_are_read_together_where_any_lies_in_one() -> None:
    assert not data_of(*four()).is_contained
    assert data_of(*four(), Entry("/0.tar", "a.png", "tar", 512, 10)).is_contained


def test_classes_are_named_only_where_samples_have_labels() -> None:
    constants = {CLASSES: json.dumps(["cat", "dog"]).encode()}
    assert data_of(*four(), constants=constants).classes is None
    assert data_of(*four(), labels=np.zeros(4, np.int64)).classes is None
    labelled = data_of(*four(), constants=constants, labels=np.array([1, 1, 1, 0]), ignored={".txt": 2})
    assert labelled.classes == ["cat", "dog"]
    assert labelled.says() == ["4 pictures of 2 classes: cat (1), dog (3)", "ignored, no samples: 2 .txt"]


def test_no_more_than_twelve_classes_are_named() -> None:
    constants = {CLASSES: json.dumps([f"c{number}" for number in range(14)]).encode()}
    (line,) = data_of(*four(), constants=constants, labels=np.zeros(4, np.int64)).says()
    assert line.startswith("4 pictures of 14 classes: c0 (4), c1 (0), ")
    assert line.endswith("c11 (0), and 2 more")


def test_data_sets_that_differ_in_roles_or_classes_are_not_joined() -> None:
    first = data_of(*four(), constants={CLASSES: b'["a"]'}, ignored={".txt": 1})
    with pytest.raises(DataError, match=r"differ in their roles or in classes\.json"):
        joined([first, data_of(*four(), constants={CLASSES: b'["b"]'})])
    with pytest.raises(DataError, match="differ in their roles"):
        joined([first, DataSet({"mask": first.first}, Access(), constants=first.constants)])
    both = joined([first, data_of(*four(), constants=first.constants, ignored={".txt": 2, ".md": 1})])
    assert (len(both), both.ignored) == (8, {".txt": 3, ".md": 1})


def test_data_sets_are_joined_in_the_order_given(tmp_path: Path) -> None:
    roots = [masks(tmp_path / "a", *"012345"), masks(tmp_path / "b", *"012345")]
    joined = find(recipe_type("unet").ROLES, [str(root) for root in roots], ACCESS)
    assert [name.removeprefix(str(tmp_path)) for name in joined.names()] == [
        f"/{folder}/images/{number}.png" for folder in "ab" for number in range(6)
    ]
