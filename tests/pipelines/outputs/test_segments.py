"""Segments that were committed count, in order; what another listing left behind does not, and is removed."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest

from pixelmill.pipelines.inputs.sources import Source
from pixelmill.pipelines.outputs import layout
from pixelmill.pipelines.outputs.known import Known
from pixelmill.pipelines.outputs.layout import FOLDER
from pixelmill.pipelines.outputs.listing import Listing, tables_of
from pixelmill.pipelines.outputs.segments import (
    Segment,
    carries_source_ids,
    digest_of_inputs,
    read_segments,
    remove_strays,
)
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from tests.pipelines.outputs.by_hand import NAMES, listed
from tests.pipelines.outputs.by_hand import list_into as list_by_hand
from tests.pipelines.outputs.listings import list_into, make_files, uris_of
from tests.pipelines.outputs.two_attempts import FIRST, SECOND


def test_a_listing_that_was_killed_half_way_is_not_used(
    photos: Path, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "ROWS_PER_GROUP", 8)
    monkeypatch.setattr(layout, "ROWS_PER_FILE", 8)
    listing = Listing(folder, 0)
    listing.write(islice(tables_of(Source((str(photos),)), listing, Known(folder, [])), 2))
    assert folder.names(FOLDER) == ["000000-0000.parquet", "000000-0001.parquet"]
    assert read_segments(folder) == []
    (photos / "000.jpg").unlink()  # the next listing is another one, and replaces what the first one left
    segments, _, _ = list_into(folder, Source((str(photos),)))
    assert read_segments(folder) == segments
    assert uris_of(folder, segments) == sorted(str(path) for path in photos.iterdir())


def test_the_inputs_that_a_listing_ignored_are_recorded_with_it(photos: Path, folder: Folder) -> None:
    make_files(photos, "notes.TXT", "more/notes.txt", "README")
    segments, _, _ = list_into(folder, Source((str(photos),)))
    assert segments[0].ignored == {".txt": 2, "(none)": 1}
    assert read_segments(folder)[0].ignored == segments[0].ignored


def digest_of(photos: Path, out: Path) -> str:
    segments, _, _ = list_into(Folder(str(out), Access()), Source((str(photos),)))
    found = digest_of_inputs(segments)
    assert found is not None
    return found


def test_the_digest_of_inputs_is_that_of_their_names_and_states_whatever_lists_them(
    photos: Path, folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = digest_of(photos, tmp_path / "a")
    assert digest_of(photos, tmp_path / "b") == first
    monkeypatch.setattr(layout, "ROWS_PER_GROUP", 8)
    monkeypatch.setattr(layout, "ROWS_PER_FILE", 8)
    assert digest_of(photos, tmp_path / "c") == first
    (photos / "000.jpg").write_bytes((photos / "000.jpg").read_bytes() + b"changed")
    changed = digest_of(photos, tmp_path / "d")
    make_files(photos, "zzz.jpg")
    assert len({first, changed, digest_of(photos, tmp_path / "e")}) == 3


def test_what_an_older_version_listed_in_part_has_no_digest_of_inputs() -> None:
    newer = Segment(0, 1, (1,), (1,), 0, digest="abc")
    assert digest_of_inputs([newer]) is not None
    assert digest_of_inputs([newer, Segment(1, 1, (1,), (1,), 1)]) is None
    assert digest_of_inputs([newer, Segment(1, 0, (), (), 1)]) == digest_of_inputs([newer])  # a seal, without inputs


def test_parts_are_ranges_of_rows_one_after_the_other_and_numbered_through(folder: Folder) -> None:
    segment = Segment(2, 10, (10,), (4, 5, 1), first_part=7, writer="0003-cccccccc")
    assert [(part.number, part.segment, part.start, part.rows, part.writer) for part in segment.parts()] == [
        (7, 2, 0, 4, "0003-cccccccc"),
        (8, 2, 4, 5, "0003-cccccccc"),
        (9, 2, 9, 1, "0003-cccccccc"),
    ]


def test_a_segment_is_read_back_as_written_and_one_of_an_earlier_version_with_its_own_keys() -> None:
    segment = Segment(1, 3, (3,), (2, 1), 5, {".txt": 1}, 2, True, "0001-aaaaaaaa", True, True, "abc")
    assert Segment.from_json(segment.to_json()) == segment
    newer = {"writer", "supersedes", "has_source_ids", "digest"}
    old = {key: value for key, value in json.loads(segment.to_json()).items() if key not in newer}
    assert Segment.from_json(json.dumps(old).encode()) == Segment(1, 3, (3,), (2, 1), 5, {".txt": 1}, 2, True)


def left_by_two(folder: Folder) -> list[Segment]:
    """Two attempts listed segment 0, the second one's counts; the first one listed segment 1 too and was cut off."""
    list_by_hand(folder, 0, NAMES, [3, 3], SECOND)
    segments = read_segments(folder)
    for number in (0, 1):
        Listing(folder, number, FIRST).write([listed(NAMES)])
    folder.publish("_run/manifest/notes.parquet", b"of a person")
    return segments


def test_files_of_a_listing_that_can_not_count_are_removed_and_nothing_else_is(folder: Folder) -> None:
    segments = left_by_two(folder)
    remove_strays(folder, segments)
    assert folder.names("_run/manifest") == [
        "000000-0002-bbbbbbbb-0000.parquet",
        "000000.json",
        "000001-0001-aaaaaaaa-0000.parquet",  # nobody has committed segment 1 yet
        "notes.parquet",
    ]


def test_where_a_store_can_not_refuse_a_listing_may_still_count_and_stays(unfenced: Folder) -> None:
    segments = left_by_two(unfenced)
    before = unfenced.names("_run/manifest")
    remove_strays(unfenced, segments)
    assert unfenced.names("_run/manifest") == before


def test_the_first_listing_decides_whether_rows_carry_source_ids() -> None:
    without, carrying = Segment(0, 1, (1,), (1,), 0), Segment(1, 1, (1,), (1,), 1, has_source_ids=True)
    assert not carries_source_ids([])
    assert not carries_source_ids([without, carrying])
    assert carries_source_ids([carrying, without])
