"""Rows of a test set that are in the training set too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pixelmill.pipelines.findings.duplicates import DuplicateOptions
from pixelmill.pipelines.findings.leaks import leaks_of
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError
from tests.pipelines.findings.explored import add_part, by_id, compressed, directions, noise, open_out, vectors


def test_a_leak_names_the_training_row_and_how_it_was_found(tmp_path: Path, out: Folder) -> None:
    test = open_out(tmp_path / "test")
    add_part(
        test,
        ["equal", "squeezed", "other"],
        vectors([0.1, 0.9, 0], [0.2, 0.8, 0], [-1, 0, 0]),
        [noise(0), compressed(noise(1)), noise(9)],
    )
    rows = by_id(leaks_of(out, test, DuplicateOptions()))
    assert {name: (row["train_id"], row["tier"]) for name, row in rows.items()} == {
        "id-equal": ("id-a", "content"),
        "id-squeezed": ("id-unlike", "perceptual"),
    }


def test_vectors_of_two_models_are_not_compared_for_leaks(tmp_path: Path) -> None:
    train, test = open_out(tmp_path / "train"), open_out(tmp_path / "test", "b" * 64)
    add_part(train, ["a"], directions(1, 1))
    add_part(test, ["a"], directions(1, 1), weights="b" * 64)
    with pytest.raises(JobError, match="vectors of two models"):
        leaks_of(train, test, DuplicateOptions())


def test_the_nearest_training_row_by_cosine_is_the_leak(tmp_path: Path) -> None:
    train, test = open_out(tmp_path / "train"), open_out(tmp_path / "test")
    add_part(train, list("abc"), vectors([1, 0, 0], [0.99, 0.1, 0], [0, 0, 1]))
    add_part(test, list("xy"), vectors([0.99, 0.11, 0], [0, 1, 0]))
    rows = by_id(leaks_of(train, test, DuplicateOptions()))
    assert {name: row["train_id"] for name, row in rows.items()} == {"id-x": "id-b"}


def test_a_near_vector_of_another_picture_is_no_leak(tmp_path: Path, out: Folder) -> None:
    test = open_out(tmp_path / "test")
    add_part(
        test, ["other", "shifted"], vectors([1, 0.001, 0], [1, 0.001, 0]), [noise(9), np.roll(noise(0), 1, axis=1)]
    )
    assert sorted(by_id(leaks_of(out, test, DuplicateOptions()))) == ["id-shifted"]


def test_one_run_has_no_leaks_into_itself(out: Folder) -> None:
    with pytest.raises(JobError, match="`pixelmill duplicates` looks within one run"):
        leaks_of(out, out, DuplicateOptions())
