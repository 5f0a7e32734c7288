"""Inputs that were listed before, as they are now: repaired files, archives that were written again, pieces that were added."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pixelmill.pipelines.inputs import relisting
from pixelmill.pipelines.inputs.manifest_rows import SCHEMA, table_of
from pixelmill.pipelines.inputs.relisting import as_now
from pixelmill.pipelines.inputs.sources import Ignored, Source, entries
from tests.pipelines.inputs.listings import ACCESS, make, tar_of
from tests.scans import ByColour


def source_of(folder: Path, **options: Any) -> Source:
    return Source((str(folder),), access=ACCESS, **options)


def rows_of(source: Source) -> pa.Table:
    return table_of(list(entries(source, Ignored())))


def by_name(rows: pa.Table) -> dict[str, dict[str, Any]]:
    return {row["member"] or Path(row["uri"]).name: row for row in rows.to_pylist()}


def test_a_file_that_was_repaired_has_its_new_size_and_version_and_the_others_stay(tmp_path: Path) -> None:
    source = source_of(make(tmp_path, "a.jpg", "b.jpg", "gone.jpg"))
    before = rows_of(source)
    make(tmp_path, "a.jpg", data=b"repaired")
    (tmp_path / "gone.jpg").unlink()
    make(tmp_path, "new.jpg")
    now = as_now(before, source)
    expected = by_name(rows_of(source_of(tmp_path)))["a.jpg"]
    assert now.schema == SCHEMA
    assert by_name(now) == by_name(before) | {"a.jpg": expected}
    assert expected["size"] == 8


def test_members_of_an_archive_that_was_written_again_are_where_they_are_now(tmp_path: Path) -> None:
    shard = tmp_path / "0.tar"
    shard.write_bytes(tar_of(("a.jpg", b"a" * 900), ("b.jpg", b"b" * 900)))
    source = source_of(shard, limit=1)
    before = rows_of(source_of(shard))
    shard.write_bytes(tar_of(("new.jpg", b"n"), ("b.jpg", b"b" * 700)))
    now, there = by_name(as_now(before, source)), by_name(rows_of(source_of(shard)))
    assert now == {"a.jpg": by_name(before)["a.jpg"], "b.jpg": there["b.jpg"]}
    assert there["b.jpg"]["offset"] != by_name(before)["b.jpg"]["offset"]


def test_an_archive_that_stayed_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "0.tar").write_bytes(tar_of(("a.jpg", b"a")))
    source = source_of(tmp_path / "0.tar")
    before, read = rows_of(source), list[str]()
    monkeypatch.setattr(relisting, "entries", lambda archive, ignored: read.extend(archive.uris) or [])
    assert as_now(before, source).equals(before)
    assert read == []


def test_an_input_of_several_pieces_has_those_that_were_added_despite_any_limit(tmp_path: Path) -> None:
    make(tmp_path, "a.r.tif", "a.g.tif", "b.r.tif")
    before = rows_of(source_of(tmp_path, grouping=ByColour()))
    make(tmp_path, "b.g.tif", "c.r.tif")
    now = as_now(before, source_of(tmp_path, grouping=ByColour(), limit=1))
    pieces = {name: [Path(piece["uri"]).name for piece in row["pieces"]] for name, row in by_name(now).items()}
    assert pieces == {"a": ["a.r.tif", "a.g.tif"], "b": ["b.r.tif", "b.g.tif"]}
    assert sorted(now["id"].to_pylist()) == sorted(before["id"].to_pylist())
