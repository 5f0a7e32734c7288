"""Repair: whatever was cut off or landed late, data/ says itself what everything else has to be."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pixelmill.pipelines.inputs.manifest_rows import SCHEMA, input_id
from pixelmill.pipelines.outputs import repair
from pixelmill.pipelines.outputs.accounting import account
from pixelmill.pipelines.outputs.columns import FAILED_SCHEMA
from pixelmill.pipelines.outputs.contents import provenance_of
from pixelmill.pipelines.outputs.encoding import encode
from pixelmill.pipelines.outputs.layout import copy_name, segment_name
from pixelmill.pipelines.outputs.listing import Listing
from pixelmill.pipelines.outputs.segments import Segment, read_segments
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import ClaimLost
from tests.pipelines.outputs.by_hand import NAMES, list_into, publish, table
from tests.pipelines.outputs.two_attempts import FIRST, SECOND, both, two_listings, uris


def anything() -> None:
    """Asked before a write, and agrees."""


def never() -> None:
    raise AssertionError("nothing had to be written")


def repaired(folder: Folder, segments: list[Segment]) -> repair.Repaired:
    """Repair, then look that a second one finds nothing any more but what is lost."""
    found = repair.repair(folder, segments, anything)
    again = repair.repair(folder, segments, never)
    assert (again.dropped, again.filed, again.lost) == (0, 0, found.lost)
    return found


def test_an_output_that_is_right_is_not_touched(folder: Folder, segments: list[Segment]) -> None:
    both(folder)
    assert repair.repair(folder, segments, never).rows == 0
    publish(folder, 1, NAMES[3:])
    assert repair.repair(folder, segments, never).rows == 0


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        FAILED_SCHEMA.empty_table(),
        table(NAMES[1:2], failed=(NAMES[1],)).select(FAILED_SCHEMA.names),
        pa.concat_tables([table(NAMES[:1], failed=(NAMES[0],)).select(FAILED_SCHEMA.names)] * 2),
    ],
    ids=["no file", "no row", "a row that is done", "a row twice"],
)
def test_failures_are_filed_as_the_data_file_has_them(
    folder: Folder, segments: list[Segment], wrong: pa.Table | None
) -> None:
    both(folder)
    folder.remove("failed/part-000000.parquet")
    if wrong is not None:
        folder.publish("failed/part-000000.parquet", encode(wrong))
    found = repaired(folder, segments)
    assert (found.dropped, found.filed, found.lost) == (0, 1, {})
    assert uris(folder, "failed") == [NAMES[0]]
    assert account(folder, segments).is_exact


def test_rows_of_another_listing_are_dropped_and_the_metadata_of_the_data_file_is_kept(
    folder: Folder, segments: list[Segment]
) -> None:
    publish(folder, 0, [*NAMES[:3], "/p/alien.jpg", NAMES[3]], failed=(NAMES[0],))
    publish(folder, 1, NAMES[3:])
    provenance = provenance_of(folder, "part-000000.parquet")
    found = repaired(folder, segments)
    assert (found.dropped, found.lost) == (2, {})
    assert uris(folder, "data") == NAMES[1:]
    assert provenance_of(folder, "part-000000.parquet") == provenance
    assert provenance["weights"] == {"0.embed": "abc"}
    assert account(folder, segments).is_exact
    folder.remove("failed/part-000000.parquet")  # and the failures are in it still
    assert repaired(folder, segments).filed == 1
    schema = pq.read_schema(pa.BufferReader(folder.read("data/part-000000.parquet") or b""))
    assert schema.field("embedding").type.list_size == 4


def test_a_row_that_stands_twice_beside_one_that_does_not_belong_is_kept_once(
    folder: Folder, segments: list[Segment]
) -> None:
    publish(folder, 0, [*NAMES[:3], NAMES[1], "/p/alien.jpg"])
    publish(folder, 1, NAMES[3:])
    assert repaired(folder, segments).dropped == 2
    assert sorted(uris(folder, "data")) == NAMES


def test_an_input_that_stands_nowhere_is_lost_where_it_was_listed(folder: Folder, segments: list[Segment]) -> None:
    publish(folder, 0, ["/p/alien.jpg", NAMES[2]])  # made from another listing, under the name of a part of this one
    publish(folder, 1, NAMES[3:])
    part = next(segments[0].parts())
    found = repaired(folder, segments)
    assert found.lost == {part: [input_id(name, None) for name in NAMES[:2]]}
    assert (found.dropped, found.rows) == (1, 3)


def test_a_part_that_is_not_done_is_left_to_the_run(folder: Folder, segments: list[Segment]) -> None:
    publish(folder, 0, NAMES[:3])
    assert repair.repair(folder, segments, never).lost == {}


def test_failures_that_a_later_part_has_redone_are_not_filed_again(folder: Folder, segments: list[Segment]) -> None:
    both(folder)
    listing = Listing(folder, 1, supersedes=True)
    listing.write(repair.listed_again(folder, segments, {next(segments[0].parts()): [input_id(NAMES[0], None)]}))
    listing.commit([1], 2)
    again = read_segments(folder)
    assert repair.repair(folder, again, never).rows == 0  # not done yet
    publish(folder, 2, NAMES[:1])
    assert repaired(folder, again).filed == 1  # what a retry was killed before it settled
    assert uris(folder, "failed") == []
    assert account(folder, again).is_exact


@pytest.mark.parametrize("broken", ["data", "failed"])
def test_nothing_is_written_by_an_attempt_that_was_overtaken(
    folder: Folder, segments: list[Segment], broken: str
) -> None:
    publish(folder, 0, [*NAMES[:3], "/p/alien.jpg"] if broken == "data" else NAMES[:3], failed=(NAMES[0],))
    if broken == "failed":
        folder.remove("failed/part-000000.parquet")
    before = uris(folder, "data"), uris(folder, "failed")

    def overtaken() -> None:
        raise ClaimLost("attempt 2 has taken over")

    with pytest.raises(ClaimLost):
        repair.repair(folder, segments, overtaken)
    assert (uris(folder, "data"), uris(folder, "failed")) == before


def test_of_two_attempts_that_put_the_same_right_one_writes(folder: Folder, segments: list[Segment]) -> None:
    publish(folder, 0, [*NAMES[:3], "/p/alien.jpg"], failed=(NAMES[0],))
    folder.remove("failed/part-000000.parquet")
    others = iter([lambda: repair.repair(folder, segments, anything)])

    def while_another_is_faster() -> None:
        next(others, anything)()

    repair.repair(folder, segments, while_another_is_faster)
    publish(folder, 1, NAMES[3:])
    assert account(folder, segments).is_exact


def test_the_rows_that_are_listed_again_are_those_of_the_manifest(folder: Folder, segments: list[Segment]) -> None:
    first, second = segments[0].parts()
    wanted = {second: [input_id(NAMES[5], None)], first: [input_id(NAMES[0], None), input_id(NAMES[2], None)]}
    rows = pa.concat_tables(repair.listed_again(folder, segments, wanted))
    assert rows.schema.equals(SCHEMA)
    assert rows["uri"].to_pylist() == [NAMES[0], NAMES[2], NAMES[5]]


def test_the_segment_that_data_was_made_from_is_put_back(unfenced: Folder) -> None:
    _, second = two_listings(unfenced)
    publish(unfenced, 0, NAMES[:3:-1], listing=SECOND)
    assert repair.restore_manifest(unfenced, anything) == [second]
    assert read_segments(unfenced) == [second]
    assert repair.restore_manifest(unfenced, never) == [second]
    publish(unfenced, 1, NAMES[3::-1], listing=SECOND)
    assert account(unfenced, [second]).is_exact


def test_of_two_segments_that_nothing_was_made_from_the_newest_counts(unfenced: Folder) -> None:
    _, second = two_listings(unfenced)
    assert repair.restore_manifest(unfenced, anything) == [second]


def test_a_segment_that_more_data_was_made_from_counts_more(unfenced: Folder) -> None:
    first, _ = two_listings(unfenced)
    publish(unfenced, 0, NAMES[:3], listing=FIRST)
    publish(unfenced, 1, NAMES[3:], listing=FIRST)
    assert repair.restore_manifest(unfenced, never) == [first]


def test_a_segment_whose_attempt_died_before_it_counted_does_not_count(unfenced: Folder) -> None:
    list_into(unfenced, 0, NAMES, [3, 3], FIRST)
    unfenced.remove(segment_name(0))
    assert unfenced.exists(copy_name(0, FIRST))
    assert repair.restore_manifest(unfenced, never) == []


def test_a_manifest_is_put_back_by_nobody_who_was_overtaken(unfenced: Folder) -> None:
    first, _ = two_listings(unfenced)

    def overtaken() -> None:
        raise ClaimLost("attempt 3 has taken over")

    with pytest.raises(ClaimLost):
        repair.restore_manifest(unfenced, overtaken)
    assert read_segments(unfenced) == [first]


def test_a_manifest_of_a_version_before_claims_stays_as_it_is(unfenced: Folder) -> None:
    list_into(unfenced, 0, NAMES, [3, 3])
    for epoch in unfenced.folders("_run/attempts"):  # those versions kept no copies
        for name in unfenced.names(f"_run/attempts/{epoch}"):
            unfenced.remove(f"_run/attempts/{epoch}/{name}")
    (before,) = read_segments(unfenced)
    assert repair.restore_manifest(unfenced, never) == [before]
