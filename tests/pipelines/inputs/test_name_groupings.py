"""Groupings of a job file: which names belong together, in which order, and which texts name no grouping."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.pipelines.inputs.entries import Entry, Ignored, Source
from pixelmill.pipelines.inputs.name_groupings import checked_group, grouping_of, natural_order
from pixelmill.pipelines.inputs.sources import entries


def inputs_of(uri: Path, group: str) -> dict[tuple[str, str | None], list[str]]:
    """The names of the pieces of each input."""
    found = entries(Source((str(uri),), grouping=grouping_of(group)), Ignored())
    return {
        (entry.uri, entry.member): [piece.uri.rpartition("/")[2] for piece in entry.pieces or ()] for entry in found
    }


def files(below: Path, *names: str) -> None:
    for name in names:
        (below / name).parent.mkdir(parents=True, exist_ok=True)
        (below / name).write_bytes(b"x")


def test_files_with_one_stem_are_one_input_in_each_folder(tmp_path: Path) -> None:
    files(tmp_path, "a.r.tif", "a.g.tif", "b.tif", "below/a.r.tif", "below/a.b.tif")
    assert inputs_of(tmp_path, "stem") == {
        (str(tmp_path), "a"): ["a.g.tif", "a.r.tif"],
        (str(tmp_path), "b"): ["b.tif"],
        (f"{tmp_path}/below", "a"): ["a.b.tif", "a.r.tif"],
    }


def test_the_files_of_a_folder_are_one_input_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    files(tmp_path, *(f"series/slice-{number}.tif" for number in range(1, 12)), "top.tif", "series/deeper/1.tif")
    assert inputs_of(tmp_path, "folder") == {
        (f"{tmp_path}/series", "."): [f"slice-{number}.tif" for number in range(1, 12)],
        (f"{tmp_path}/series/deeper", "."): ["1.tif"],
        (str(tmp_path), "."): ["top.tif"],
    }


def test_the_group_of_a_pattern_names_the_input_and_other_files_are_inputs_of_their_own(tmp_path: Path) -> None:
    files(tmp_path, "scan7-2.tif", "scan7-10.tif", "scan8-1.tif", "cover.jpg")
    assert inputs_of(tmp_path, r"(.*)-[0-9]+\.tif") == {
        (str(tmp_path), "scan7"): ["scan7-2.tif", "scan7-10.tif"],
        (str(tmp_path), "scan8"): ["scan8-1.tif"],
        (f"{tmp_path}/cover.jpg", None): [],
    }


@pytest.mark.parametrize(
    ("group", "names"),
    [("stem", {"a", "x/a", "x/b"}), ("folder", {".", "x"}), (r"(.)\.[rg]\.tif", {"a", "x/a", "x/b"})],
)
def test_members_of_a_tar_are_grouped_within_it(tmp_path: Path, group: str, names: set[str]) -> None:
    files(tmp_path / "files", "a.r.tif", "a.g.tif", "x/a.r.tif", "x/b.r.tif")
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for path in sorted((tmp_path / "files").rglob("*.tif")):
            tar.add(path, path.relative_to(tmp_path / "files").as_posix())
    found = inputs_of(tmp_path / "shard.tar", group)
    assert {uri for uri, _ in found} == {f"{tmp_path}/shard.tar"}
    assert {member for _, member in found} == names


def test_a_name_that_begins_with_a_dot_keeps_it_and_one_without_a_dot_is_a_stem() -> None:
    grouping = grouping_of("stem")
    assert [grouping.name_of(Entry(f"s3://b/f/{name}")) for name in (".a.jpg", "a", "a.b.c")] == [
        ("s3://b/f", ".a"), ("s3://b/f", "a"), ("s3://b/f", "a")
    ]  # fmt: skip


@settings(deadline=None)
@given(st.lists(st.text("ab01290.", max_size=6), unique=True))
def test_no_two_names_have_one_place_in_the_natural_order(names: list[str]) -> None:
    keys = [natural_order(name) for name in names]
    assert len(set(keys)) == len(names)
    sorted(keys)  # any two can be compared


def test_numbers_are_sorted_by_their_value() -> None:
    assert sorted(["z10", "z9", "z010", "a100b2", "a100b10"], key=natural_order) == [
        "a100b2", "a100b10", "z9", "z010", "z10"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "fact"),
    [("stems", "0 groups"), ("(a)(b)", "2 groups"), ("(", "neither stem nor folder nor"), ("", "0 groups")],
)
def test_an_invalid_grouping_is_refused_with_the_valid_ones(text: str, fact: str) -> None:
    with pytest.raises(ValueError, match=fact):
        checked_group(text)
