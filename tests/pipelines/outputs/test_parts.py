"""Parts hold every input once, in sizes that suit workers and files, and never depend on the machine that lists."""

from __future__ import annotations

import time
from itertools import accumulate

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pixelmill.pipelines.outputs.parts import FIRST_PART_ROWS, MOST_WORKERS, ROWS_PER_WORKER, plan_parts

PLANS = {
    "rows": st.one_of(st.integers(0, 3000), st.integers(0, 300_000)),
    "row_bytes": st.integers(1, 1 << 21),
    "file_bytes": st.integers(1 << 20, 1 << 30),
}


@settings(deadline=None, max_examples=150)
@given(**PLANS)
@example(rows=0, row_bytes=1, file_bytes=1 << 20)
@example(rows=1, row_bytes=1 << 21, file_bytes=1 << 20)
def test_parts_hold_every_row_and_none_is_empty_or_above_the_file_size(
    rows: int, row_bytes: int, file_bytes: int
) -> None:
    sizes = plan_parts(rows, row_bytes=row_bytes, file_bytes=file_bytes)
    assert sum(sizes) == rows
    assert min(sizes, default=1) >= 1
    assert max(sizes, default=1) <= max(1, file_bytes // row_bytes)
    assert all(size < FIRST_PART_ROWS or size % FIRST_PART_ROWS == 0 for size in sizes[:-1])


@settings(deadline=None, max_examples=150)
@given(**PLANS, share=st.floats(0, 1))
def test_first_parts_are_small_and_the_last_ones_let_all_workers_finish_together(
    rows: int, row_bytes: int, file_bytes: int, share: float
) -> None:
    most = min(max(rows // ROWS_PER_WORKER, 2), MOST_WORKERS)
    workers = max(1, round(share * most))  # any number of them, up to as many as so many rows are planned for
    sizes = plan_parts(rows, row_bytes=row_bytes, file_bytes=file_bytes)
    assert max(sizes[:workers], default=0) <= FIRST_PART_ROWS
    assert max(sizes[: 2 * workers], default=0) <= 2 * FIRST_PART_ROWS
    for done, size in zip(accumulate(sizes, initial=0), sizes, strict=False):
        # A worker that starts this part while the others share the rest ends at most half a share after them.
        assert size <= max(FIRST_PART_ROWS, (rows - done) // (2 * workers))


@pytest.mark.parametrize("rows", [100_000, 1_000_000, 10_000_000])
def test_a_big_job_has_about_256_parts_beside_the_small_ones_of_its_workers(rows: int) -> None:
    sizes = plan_parts(rows, row_bytes=512, file_bytes=1 << 30)
    workers = min(rows // ROWS_PER_WORKER, MOST_WORKERS)
    assert 256 <= len(sizes) <= 256 + 32 * workers + 64


def test_a_job_of_many_small_parts_is_planned_in_seconds() -> None:
    start_s = time.process_time()
    assert len(plan_parts(500_000, row_bytes=1 << 20, file_bytes=1 << 20)) == 500_000
    assert time.process_time() - start_s < 5


@settings(deadline=None, max_examples=150)
@given(
    inputs=st.integers(0, 20_000),
    rows_per_input=st.floats(0.25, 2000),
    row_bytes=st.integers(1, 1 << 21),
    file_bytes=st.integers(1 << 20, 1 << 30),
)
def test_parts_of_inputs_that_make_many_rows_hold_as_many_fewer_of_them(
    inputs: int, rows_per_input: float, row_bytes: int, file_bytes: int
) -> None:
    sizes = plan_parts(inputs, row_bytes=row_bytes, file_bytes=file_bytes, rows_per_input=rows_per_input)
    assert sum(sizes) == inputs
    assert min(sizes, default=1) >= 1
    assert max(sizes, default=1) <= max(1, file_bytes / (row_bytes * rows_per_input))
    assert max(sizes[:2], default=0) <= max(1, round(FIRST_PART_ROWS / rows_per_input))


def test_files_stay_near_the_size_that_was_asked_for_when_inputs_make_many_rows() -> None:
    sizes = plan_parts(10_000, row_bytes=512 << 10, file_bytes=128 << 20, rows_per_input=100)
    assert max(sizes) * 100 * (512 << 10) <= 128 << 20
    assert sorted(sizes)[len(sizes) // 2] == 2
