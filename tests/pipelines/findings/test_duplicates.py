"""Near-duplicates in tiers: each finds what the cheaper ones can't, thumbnails confirm, and one row represents each group."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pixelmill.pipelines.findings.duplicates import DuplicateOptions, duplicates_of
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError
from tests.pipelines.findings.explored import add_part, by_id, compressed, noise, open_out, vectors


def test_every_tier_adds_what_it_alone_finds_and_thumbnails_refuse_the_rest(out: Folder) -> None:
    made = duplicates_of(out, DuplicateOptions())
    rows = by_id(made)
    assert {row["representative"] for row in rows.values()} == {"id-a"}
    tiers = {name.removeprefix("id-"): row["tier"] for name, row in rows.items() if not row["is_representative"]}
    assert tiers["copy"] == "content"
    assert tiers["compressed"] == "perceptual"
    assert "unlike" not in tiers, "its vector is near, its thumbnail is not"
    assert "alone" not in tiers
    assert rows["id-copy"]["nearness"] == 1
    assert made.summary["groups"] == 1
    assert made.summary["duplicates"] == len(tiers)


def test_vectors_alone_give_the_pairs_that_thumbnails_would_refuse(tmp_path: Path) -> None:
    folder = open_out(tmp_path)
    add_part(folder, list("abc"), vectors([1, 0], [1, 0.01], [0, 1]))
    made = duplicates_of(folder, DuplicateOptions())
    assert sorted(by_id(made)) == ["id-a", "id-b"]
    assert made.summary["compared_by"] == ["vectors"]


def test_fingerprints_alone_are_enough(tmp_path: Path) -> None:
    folder = open_out(tmp_path)
    add_part(folder, list("abc"), pictures=[noise(0), compressed(noise(0)), noise(1)])
    made = duplicates_of(folder, DuplicateOptions())
    assert sorted(by_id(made)) == ["id-a", "id-b"]
    assert made.summary["compared_by"] == ["fingerprints"]


def test_equal_vectors_are_one_row_for_the_search_and_all_of_them_in_the_group(tmp_path: Path) -> None:
    folder = open_out(tmp_path)
    many = np.repeat(vectors([1, 0, 0], [0, 1, 0]), [40, 1], axis=0)
    add_part(folder, [f"{n:02d}" for n in range(41)], many)
    made = duplicates_of(folder, DuplicateOptions())
    assert made.rows.num_rows == 40
    assert made.rows["is_representative"].to_pylist() == [True] + [False] * 39
    assert made.summary["by_tier"] == {"content": 39, "perceptual": 0, "cosine": 0}


def test_larger_groups_come_first_with_their_representative_first(tmp_path: Path) -> None:
    folder = open_out(tmp_path)
    add_part(folder, list("abcde"), vectors([1, 0, 0], [0, 1, 0], [1, 0.001, 0], [0, 1, 0.001], [0, 1, 0.002]))
    rows = duplicates_of(folder, DuplicateOptions()).rows
    assert rows["group"].to_pylist() == [0, 0, 0, 1, 1]
    assert rows["is_representative"].to_pylist() == [True, False, False, True, False]


def test_nothing_repeats_where_nothing_does(tmp_path: Path) -> None:
    folder = open_out(tmp_path)
    add_part(folder, list("ab"), vectors([1, 0], [0, 1]))
    made = duplicates_of(folder, DuplicateOptions())
    assert (made.rows.num_rows, made.summary["duplicates"]) == (0, 0)


def test_a_run_with_nothing_to_compare_by_is_reported_which_stages_make_it(tmp_path: Path) -> None:
    folder = open_out(tmp_path)
    add_part(folder, ["a"])
    with pytest.raises(JobError, match=r"neither vectors nor fingerprints.*fingerprint and embed"):
        duplicates_of(folder, DuplicateOptions())
    with pytest.raises(JobError, match="is a cosine"):
        duplicates_of(folder, DuplicateOptions(threshold=1.5))
