"""Requests join near neighbours, and lose or repeat no input."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.pipelines.inputs.entries import Piece
from pixelmill.pipelines.inputs.manifest_rows import table_of
from pixelmill.pipelines.inputs.requests import FetchLimits, Input, inputs_of, limits_for, plan_requests
from pixelmill.pipelines.inputs.sources import Entry

LIMITS = FetchLimits()


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 90_000)), min_size=1, max_size=30),
    st.integers(512, 1 << 20),
    st.integers(4, 64),
)
def test_requests_join_only_near_neighbours_and_lose_and_repeat_no_row(
    members: list[tuple[int, int]], coalesce_bytes: int, window_rows: int
) -> None:
    inputs, offset = [], 0
    for position, (size, gap) in enumerate(members):
        inputs.append(Input(position, "/a.tar", "tar", offset + gap, size, None))
        offset += gap + size
    limits = FetchLimits(coalesce_bytes=coalesce_bytes, window_rows=window_rows)
    planned = list(plan_requests(inputs, limits))
    assert [item for request in planned for item in request.inputs] == inputs
    for request in planned:
        first, last = request.inputs[0], request.inputs[-1]
        span = (last.offset or 0) + (last.size or 0) - (first.offset or 0)
        assert len(request.inputs) <= max(1, window_rows // 4)
        assert len(request.inputs) == 1 or span <= coalesce_bytes
        assert span <= sum(i.size or 0 for i in request.inputs) + 65_536 * (len(request.inputs) - 1)


INPUTS = st.builds(
    Entry,
    st.sampled_from(["/a.tar", "/b.tar", "/c.parquet", "/d.jpg"]),
    container=st.sampled_from([None, "tar", "parquet"]),
    offset=st.none() | st.integers(0, 3000),
    size=st.none() | st.integers(0, 3000),
    problem=st.sampled_from([None, None, "Truncated: cut"]),
    pieces=st.sampled_from([None, None, None, (Piece("/a.tar", 0, 10), Piece("/e.jpg"))]),
    source_id=st.none(),
)


@settings(deadline=None, max_examples=200)
@given(st.lists(INPUTS, min_size=1, max_size=30))
def test_a_request_is_of_one_archive_or_of_a_few_local_files(found: list[Entry]) -> None:
    inputs = inputs_of(table_of(found))
    planned = list(plan_requests(inputs, LIMITS))
    assert [item for request in planned for item in request.inputs] == inputs
    for request in (request for request in planned if len(request.inputs) > 1):
        assert all(item.pieces is None for item in request.inputs)
        if request.inputs[0].container is None:
            assert {item.container for item in request.inputs} == {None}
            assert len(request.inputs) <= LIMITS.window_rows // LIMITS.in_flight
            continue
        assert len({(item.uri, item.container) for item in request.inputs}) == 1
        assert not any(item.problem for item in request.inputs)


def test_local_files_come_a_few_at_a_time_and_objects_of_a_store_one_by_one() -> None:
    limits = FetchLimits(in_flight=4, window_rows=12)
    for folder, together in (("/a", 3), ("file:///a", 3), ("s3://a", 1), ("https://a.example", 1)):
        inputs = [Input(position, f"{folder}/{position}.jpg", None, None, 9, None) for position in range(10)]
        assert max(len(request.inputs) for request in plan_requests(inputs, limits)) == together


def test_the_rows_of_a_manifest_are_numbered_from_zero(tmp_path: Path) -> None:
    rows = inputs_of(table_of([Entry("/a"), Entry("/b.tar", "m", "tar", 512, 7)]).slice(1))
    assert rows == [Input(0, "/b.tar", "tar", 512, 7, None)]


@pytest.mark.parametrize(
    ("device", "in_flight", "rows"), [("cpu", 16, 64), ("cpu", 64, 256), ("cuda", 16, 2048), ("cuda:0", 1000, 4000)]
)
def test_more_may_wait_for_a_gpu_and_for_more_requests_at_once(device: str, in_flight: int, rows: int) -> None:
    limits = limits_for(device, in_flight, 1 << 20)
    assert (limits.in_flight, limits.window_rows, limits.max_bytes) == (in_flight, rows, 1 << 20)
    assert limits.window_bytes == LIMITS.window_bytes


def test_a_shard_is_read_in_few_large_ranges_for_a_gpu_and_a_table_in_as_few_rows_as_ever() -> None:
    limits = limits_for("cuda", 16, 1 << 28)
    shard = [Input(place, "/a.tar", "tar", place * 50_000, 50_000, None) for place in range(1000)]
    rows = [Input(place, "/a.parquet", "parquet", None, None, None) for place in range(1000)]
    assert max(len(request.inputs) for request in plan_requests(shard, LIMITS)) == 16
    assert {len(request.inputs) for request in plan_requests(shard, limits)} == {83, 1000 % 83}  # 4 MiB each
    assert max(len(request.inputs) for request in plan_requests(rows, limits)) == 16
