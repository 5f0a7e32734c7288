"""The laws of grouping: pieces make one input wherever they are listed, in bounded memory, under an id that stays theirs."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.pipelines.inputs.entries import Entry, Ignored, Piece, Source
from pixelmill.pipelines.inputs.grouping import grouped, version_of
from pixelmill.pipelines.inputs.manifest_rows import input_id, table_of
from pixelmill.pipelines.inputs.relisting import as_now
from pixelmill.pipelines.inputs.sources import entries
from pixelmill.pipelines.outputs.known import Known
from pixelmill.pipelines.outputs.listing import Listing, tables_of
from pixelmill.pipelines.outputs.segments import Segment, read_segments
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError
from tests import scans

BY_COLOUR = scans.ByColour()


def listed(uri: str | Path, **options: object) -> list[Entry]:
    return list(entries(replace(Source((str(uri),), grouping=BY_COLOUR), **options), Ignored()))  # type: ignore[arg-type]


def files(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(name.encode())


def scan(name: str) -> list[str]:
    return [f"{name}.{colour}.tif" for colour in "bgr"]


def test_the_files_of_a_scan_are_one_input_in_the_order_of_its_decoder(tmp_path: Path) -> None:
    files(tmp_path, *scan("a"), *scan("b"), "alone.tif", "c.g.tif")
    found = {entry.member or entry.uri: entry for entry in listed(tmp_path)}
    assert sorted(found) == [f"{tmp_path}/alone.tif", "a", "b", "c"]
    a = found["a"]
    assert [piece.uri for piece in a.pieces or ()] == [f"{tmp_path}/a.{colour}.tif" for colour in "rgb"]
    assert (a.uri, a.container, a.offset, a.size) == (str(tmp_path), None, None, 3 * len("a.r.tif"))
    assert all(piece.version for piece in a.pieces or ())
    assert found["c"].pieces is not None
    assert len(found["c"].pieces) == 1
    assert found[f"{tmp_path}/alone.tif"].pieces is None


def test_a_limit_counts_inputs_and_cuts_none(tmp_path: Path) -> None:
    files(tmp_path, *scan("a"), *scan("b"), *scan("c"))
    found = listed(tmp_path, limit=2)
    assert [len(entry.pieces or ()) for entry in found] == [3, 3]


NAMES = st.lists(st.integers(0, 5), max_size=40)


@settings(deadline=None, max_examples=200)
@given(NAMES, st.integers(0, 8))
def test_every_piece_is_in_one_input_or_the_listing_reports_one_that_is_too_far_away(
    owners: list[int], apart: int
) -> None:
    by = scans.ByColour(most_pieces=40, most_between=apart)
    found = [Entry(f"/f/{owner}.r.tif", size=1, version=f"{place}") for place, owner in enumerate(owners)]
    spread = any(
        (later := next((p for p in range(place + 1, len(owners)) if owners[p] == owner), None)) is not None
        and later - place > apart + 1
        for place, owner in enumerate(owners)
    )
    if spread:
        with pytest.raises(JobError, match="belongs to"):
            list(grouped(found, by))
        return
    made = list(grouped(found, by))
    assert len(made) == len(set(owners))
    for entry in made:
        assert sorted(int(piece.version or "") for piece in entry.pieces or ()) == [
            place for place, owner in enumerate(owners) if str(owner) == entry.member
        ]
    assert made == list(grouped(found, by))  # equal listings give equal inputs in an equal order


def test_no_more_is_held_than_lies_between_two_pieces() -> None:
    taken = 0

    def stream() -> Iterator[Entry]:
        nonlocal taken
        for number in range(10_000):
            taken += 1
            yield Entry(f"/f/{number // 3:05d}.{'bgr'[number % 3]}.tif", size=1)

    for given_so_far, _ in enumerate(grouped(stream(), BY_COLOUR), 1):
        assert taken <= 3 * given_so_far + BY_COLOUR.most_between + 1 or taken == 10_000


def test_an_input_of_too_many_pieces_is_filed_with_that_as_its_reason() -> None:
    found = [Entry(f"/f/a.{colour}.tif", size=1) for colour in "rgb"]
    (entry,) = grouped([*found, *found], BY_COLOUR)
    assert entry.problem is not None
    assert entry.problem.startswith("TooManyPieces: has 6 pieces, more than the 3 ")
    assert len(entry.pieces or ()) == 3


def test_an_input_is_as_bad_as_its_first_bad_piece() -> None:
    found = [Entry("/f/a.r.tif"), Entry("/f/a.g.tif", problem="Empty: no bytes"), Entry("/f/a.b.tif", problem="x")]
    (entry,) = grouped(found, BY_COLOUR)
    assert entry.problem == "Empty: no bytes"
    assert entry.size is None


def test_the_rows_of_a_table_do_not_join() -> None:
    with pytest.raises(JobError, match=r"t\.parquet: is a table, of which each row is an input"):
        list(grouped([Entry("/t.parquet", "f/a.r.tif", "parquet", 0)], BY_COLOUR))


# An id for ever, and a version that changes


def test_an_input_keeps_its_id_when_a_piece_is_replaced_added_or_removed_and_is_another_version(tmp_path: Path) -> None:
    files(tmp_path, *scan("a"))
    (before,) = listed(tmp_path)
    versions = {before.version}
    (tmp_path / "a.b.tif").write_bytes(b"another one")
    versions.add(listed(tmp_path)[0].version)
    (tmp_path / "a.r.tif").unlink()  # the first one
    versions.add(listed(tmp_path)[0].version)
    (after,) = listed(tmp_path)
    assert len(versions) == 3
    assert input_id(before.uri, before.member) == input_id(after.uri, after.member) == input_id(str(tmp_path), "a")


def test_the_version_of_an_input_is_that_of_all_its_pieces() -> None:
    pieces = [Piece("/a", None, 1, "x"), Piece("/b", None, 1, "y")]
    others = [pieces[:1], pieces[::-1], [*pieces, Piece("/c")], [pieces[0], pieces[1]._replace(version="z")]]
    assert len({version_of(some) for some in [pieces, *others]}) == 5
    assert version_of(pieces) == version_of(list(pieces))


def list_into(out: Folder, source: Source) -> tuple[list[Segment], Known]:
    segments = read_segments(out)
    known, listing = Known(out, segments), Listing(out, len(segments))
    listing.write(table for table in tables_of(source, listing, known) if table.num_rows)
    if listing.rows:
        segments = [*segments, listing.commit([listing.rows], len(segments))]
    return segments, known


def test_a_new_listing_counts_changed_inputs_and_adds_new_ones(tmp_path: Path) -> None:
    out, source = Folder(str(tmp_path / "out"), Access()), Source((str(tmp_path / "in"),), grouping=BY_COLOUR)
    files(tmp_path / "in", *scan("a"), *scan("b"), *scan("c"))
    segments, _ = list_into(out, source)
    assert segments[0].rows == 3
    files(tmp_path / "in", *scan("d"))
    (tmp_path / "in" / "a.r.tif").write_bytes(b"another one")
    (tmp_path / "in" / "b.g.tif").unlink()
    for path in (tmp_path / "in").glob("c.*"):
        path.unlink()
    segments, known = list_into(out, source)
    assert [segment.rows for segment in segments] == [3, 1]
    assert (known.changed, known.removed) == (2, 1)


# A retry looks at all pieces


def test_a_retry_sees_pieces_that_were_replaced_and_those_that_came(tmp_path: Path) -> None:
    files(tmp_path, "a.r.tif", "a.g.tif", *scan("b"), *scan("gone"))
    source = Source((str(tmp_path),), grouping=BY_COLOUR, limit=1000)
    rows = table_of(listed(tmp_path))
    files(tmp_path, "a.b.tif")
    (tmp_path / "b.g.tif").write_bytes(b"whole now")
    for path in tmp_path.glob("gone.*"):
        path.unlink()
    now = {row["member"]: row for row in as_now(rows, source).to_pylist()}
    then = {row["member"]: row for row in rows.to_pylist()}
    assert [piece["uri"][-5] for piece in now["a"]["pieces"]] == ["r", "g", "b"]
    assert now["b"]["size"] == then["b"]["size"] - len("b.g.tif") + len("whole now")
    assert now["b"]["version"] != then["b"]["version"]
    assert now["gone"] == then["gone"]
    assert {name: row["id"] for name, row in now.items()} == {name: row["id"] for name, row in then.items()}


def test_pieces_in_a_tar_are_ranges_of_it_and_move_with_it(tmp_path: Path) -> None:
    shard = tmp_path / "shard.tar"

    def pack(*names: str) -> None:
        with tarfile.open(shard, "w") as tar:
            for name in names:
                header = tarfile.TarInfo(name)
                header.size = len(name)
                tar.addfile(header, io.BytesIO(name.encode()))

    pack("x/a.r.tif", "x/a.g.tif", "x/a.b.tif", "x/alone.jpg")
    found = listed(shard)
    a = next(entry for entry in found if entry.pieces)
    data = shard.read_bytes()
    assert [data[p.offset : (p.offset or 0) + (p.size or 0)] for p in a.pieces or ()] == [
        b"x/a.r.tif", b"x/a.g.tif", b"x/a.b.tif",
    ]  # fmt: skip
    assert (a.uri, a.member, a.container) == (str(shard), "x/a", None)
    pack("x/first.jpg", "x/a.b.tif", "x/a.g.tif", "x/a.r.tif", "x/alone.jpg")
    now = as_now(table_of(found), Source((str(shard),), grouping=BY_COLOUR)).to_pylist()
    assert [row["member"] for row in now if row["pieces"]] == ["x/a"]
    assert [row["pieces"] for row in now if row["pieces"]] != [[piece._asdict() for piece in a.pieces or ()]]


def test_a_name_of_a_piece_that_is_not_utf8_is_listed_with_its_reason(tmp_path: Path) -> None:
    Path(f"{tmp_path}/caf\udce9.r.tif").write_bytes(b"x")
    (row,) = table_of(listed(tmp_path)).to_pylist()
    assert row["problem"].startswith("BadName: ")
    assert row["pieces"][0]["uri"] == f"{tmp_path}/caf\\udce9.r.tif"
    assert row["id"] == input_id(str(tmp_path), "caf\udce9")
