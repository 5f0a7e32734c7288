"""Law 1 for inputs that make many rows: all places from 0 on, each once, in one part, or the account is not exact."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.pipelines.inputs.manifest_rows import input_id
from pixelmill.pipelines.outputs import publishing, repair
from pixelmill.pipelines.outputs.accounting import account
from pixelmill.pipelines.outputs.completion import require_complete
from pixelmill.pipelines.outputs.encoding import Compression
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.outputs.settling import settle
from pixelmill.pipelines.outputs.wholeness import inputs_in, whole_rows_of
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import PixelmillError
from tests.pipelines.outputs.by_hand import NAMES, failed_uris, list_again, publish, put, table

PLACES = {name: list(range(1 + number)) for number, name in enumerate(NAMES)}
"""The first input makes one row, the second two, and so on."""
FIRST, LAST = NAMES[:3], NAMES[3:]
INPUTS = 6


def both(folder: Folder, failed: tuple[str, ...] = ()) -> None:
    publish(folder, 0, FIRST, failed, places=PLACES)
    publish(folder, 1, LAST, failed, places=PLACES)


def test_the_account_counts_inputs_and_rows(folder: Folder, segments: list[Segment]) -> None:
    written = publish(folder, 0, FIRST, (NAMES[1],), places=PLACES)
    assert (written.done, written.failed) == (2, 1)
    publish(folder, 1, LAST, places=PLACES)
    found = account(folder, segments)
    assert (found.listed, found.done, found.failed, found.rows) == (INPUTS, 5, 1, 1 + 3 + 4 + 5 + 6)
    assert found.is_exact


def test_the_second_attempt_to_publish_counts_the_inputs_of_the_existing_file(
    folder: Folder, segments: list[Segment]
) -> None:
    publish(folder, 0, FIRST, (NAMES[1],), places=PLACES)
    written = publish(folder, 0, FIRST, places=PLACES)
    assert (written.done, written.failed) == (2, 1)
    assert failed_uris(folder) == [NAMES[1]]


def test_rows_have_a_place_only_if_inputs_make_many(folder: Folder, segments: list[Segment]) -> None:
    publish(folder, 0, FIRST, places=PLACES)
    publish(folder, 1, LAST)
    many, one = (pq.read_table(pa.BufferReader(folder.read(f"data/{name}") or b"")) for name in folder.names("data"))
    assert many.schema.names == ["id", "uri", "member", "place", "width", "height", "embedding"]
    assert many.schema.field("place").type == pa.int32()
    assert one.schema.names == ["id", "uri", "member", "width", "height", "embedding"]


def without(made: pa.Table, name: str, place: int) -> pa.Table:
    keep = [row != {"uri": name, "place": place} for row in made.select(["uri", "place"]).to_pylist()]
    return made.filter(pa.array(keep))


BROKEN = {
    "a gap": lambda made: without(made, NAMES[2], 1),
    "no first place": lambda made: without(made, NAMES[2], 0),
    "a place twice": lambda made: pa.concat_tables([made, made.slice(1, 1)]),
    "an input twice": lambda made: pa.concat_tables([made, made]),
    "a place that is null": lambda made: made.set_column(3, "place", pa.nulls(made.num_rows, pa.int32())),
}


@pytest.mark.parametrize("how", BROKEN)
def test_inputs_that_are_not_whole_are_never_published(folder: Folder, segments: list[Segment], how: str) -> None:
    made = BROKEN[how](table(FIRST, places=PLACES))
    with pytest.raises(
        PixelmillError, match=r"part-000000: the rows of input [0-9a-f]{32} are not its places from 0 on"
    ):
        publishing.publish(folder, "part-000000", made, {}, Compression())
    assert not folder.names("data")


def test_an_input_that_failed_has_no_rows(folder: Folder, segments: list[Segment]) -> None:
    made = pa.concat_tables([table(FIRST, places=PLACES), table(NAMES[:1], NAMES[:1], places=PLACES)])
    with pytest.raises(PixelmillError, match="none of them failed"):
        publishing.publish(folder, "part-000000", made, {}, Compression())


@pytest.mark.parametrize("how", BROKEN)
def test_an_account_with_an_input_that_is_not_whole_is_not_exact(
    folder: Folder, segments: list[Segment], how: str
) -> None:
    both(folder)
    put(folder, "part-000000", BROKEN[how](table(FIRST, places=PLACES)))
    found = account(folder, segments)
    assert (found.twice, found.incomplete) == {
        "a gap": (0, 1), "no first place": (0, 1), "a place twice": (1, 0), "an input twice": (3, 0),
        "a place that is null": (2, 3),
    }[how]  # fmt: skip
    assert not found.is_exact
    assert not found.is_exact_so_far


def test_a_run_with_an_input_that_is_not_whole_reports_that_it_is_not_complete(
    folder: Folder, segments: list[Segment]
) -> None:
    both(folder)
    put(folder, "part-000000", BROKEN["a gap"](table(FIRST, places=PLACES)))
    with pytest.raises(PixelmillError, match=r"does not add up: .* 0 unknown, 1 incomplete; run the same command"):
        require_complete(folder, account(folder, segments), retry=False)


def test_an_input_that_is_cut_over_two_parts_is_no_exact_account(folder: Folder, segments: list[Segment]) -> None:
    cut = {**PLACES, NAMES[2]: [0]}
    put(folder, "part-000000", table(FIRST, places=cut))
    put(folder, "part-000001", table([*LAST, NAMES[2]], places={**PLACES, NAMES[2]: [1, 2]}))
    found = account(folder, segments)
    assert (found.unknown, found.incomplete, found.is_exact) == (1, 1, False)


# Repair


@pytest.mark.parametrize("how", BROKEN)
def test_only_inputs_that_are_whole_are_kept_and_each_once(folder: Folder, segments: list[Segment], how: str) -> None:
    both(folder)
    put(folder, "part-000000", BROKEN[how](table(FIRST, places=PLACES)))
    found = repair.repair(folder, segments, lambda: None)
    of_all = set(FIRST) if "null" in how else set[str]()
    lost = {NAMES[2]} if how in {"a gap", "no first place"} else of_all
    assert {each for ids in found.lost.values() for each in ids} == {input_id(name, None) for name in lost}
    after = account(folder, segments)
    assert (after.missing, after.twice, after.unknown, after.incomplete) == (len(lost), 0, 0, 0)
    assert repair.repair(folder, segments, lambda: None).dropped == 0


def test_the_half_of_an_input_in_another_part_is_dropped(folder: Folder, segments: list[Segment]) -> None:
    both(folder)
    put(folder, "part-000001", table([*LAST, NAMES[2]], places={**PLACES, NAMES[2]: [1, 2]}))
    assert repair.repair(folder, segments, lambda: None).dropped == 2
    assert account(folder, segments).is_exact


# Retry


def test_a_retry_moves_an_input_with_all_its_rows(folder: Folder, segments: list[Segment]) -> None:
    both(folder, failed=(NAMES[2], NAMES[4]))
    again = list_again(folder, [NAMES[2], NAMES[4]])
    publish(folder, 2, [NAMES[2], NAMES[4]], (NAMES[4],), places=PLACES)
    assert settle(folder, again) == 2
    found = account(folder, again)
    assert (found.listed, found.done, found.failed, found.is_exact) == (INPUTS, 5, 1, True)
    assert found.rows == sum(map(len, PLACES.values())) - len(PLACES[NAMES[4]])


# Any rows

ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=14)


@settings(deadline=None)
@given(ROWS, st.sets(st.sampled_from("abc")))
def test_of_any_rows_exactly_the_whole_inputs_are_kept(rows: list[tuple[str, int]], belongs: set[str]) -> None:
    made = pa.table(
        {"id": pa.array([each for each, _ in rows], pa.string()), "place": pa.array([p for _, p in rows], pa.int32())}
    )
    kept = made.filter(pa.array(whole_rows_of(made, frozenset(belongs)), pa.bool_()))
    there = Counter(zip(*(kept[name].to_pylist() for name in ("id", "place")), strict=True))
    for identity in "abc":
        places = {place for each, place in rows if each == identity}
        is_kept = identity in belongs and bool(places) and places == set(range(len(places)))
        assert {place for each, place in there if each == identity} == (places if is_kept else set())
    assert set(there.values()) <= {1}
    assert not inputs_in(kept).incomplete
    assert not inputs_in(kept).twice
