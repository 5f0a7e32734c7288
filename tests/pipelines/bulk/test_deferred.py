"""Columns that are encoded by jobs: on threads beside the stages or at once, bounded in memory, each failure one input's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa
import pytest
import torch
from torch import Tensor

from pixelmill.pipelines.bulk.deferred import BATCHES_AHEAD
from pixelmill.workers.errors import RowError
from pixelmill.workers.runtime.faults import DeviceFault
from pixelmill.workers.stages import Deferred, Milled
from tests.pipelines.bulk.lines import Adds, Line
from tests.waiting import comes

PATIENCE_S = 20.0


@dataclass
class Encodes(Adds):
    """Defers its value; `job` is called with it, and may fail, wait or record."""

    job: Callable[[int], int] = lambda value: value
    threads: list[str] = field(default_factory=list[str])
    """Which threads ran jobs."""
    fields: ClassVar[tuple[Any, ...]] = (pa.field("value", pa.int32()), pa.field("plain", pa.int32()))

    def run(self, samples: Sequence[Tensor]) -> Milled:
        milled = super().run(samples)
        jobs = [lambda sample=sample: self._encoded(sample) for sample in samples]
        columns = {"value": Deferred(jobs, list(samples)), "plain": milled.columns["value"]}
        return Milled(columns, milled.errors, milled.pictures)

    def _encoded(self, sample: Tensor) -> int:
        self.threads.append(threading.current_thread().name)
        return self.job(int(sample.max()))


def failing(on: int, error: Exception) -> Callable[[int], int]:
    def job(value: int) -> int:
        if value == on:
            raise error
        return value

    return job


def done(line: Line, values: int = 9) -> Line:
    for value in range(values):
        line.add(value)
    line.queues.run_all()
    assert line.budget.held_bytes == 0
    return line


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_every_row_has_the_value_of_its_job(threads: int) -> None:
    stage = Encodes(batch=2, job=lambda value: 10 * value, refuses=5)
    line = done(Line([stage, Adds(batch=3)], (None, 0), threads=threads))
    found = line.values_by_row(0)
    assert {row: value for row, value in found.items() if row != 5} == {n: 10 * n for n in range(9) if n != 5}
    assert (line.tally.done, line.tally.failed) == (8, 1)
    assert len(stage.threads) == 8, "the job of a row that is an error already is not run"
    here = threading.current_thread().name
    assert {name == here for name in stage.threads} == {threads == 0}
    assert line.tally.busy_s["compress"] > 0


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize(
    ("error", "kind"),
    [(RowError("png", "TooLarge", "is too large"), "TooLarge"), (ArithmeticError("broke"), "ArithmeticError")],
)
def test_a_job_that_fails_files_its_input_once_under_the_name_of_its_stage(
    threads: int, error: Exception, kind: str
) -> None:
    line = done(Line([Encodes(batch=2, job=failing(3, error)), Encodes(batch=2)], (None, 0), threads=threads))
    assert [item.position for item in line.items if item.error] == [3]
    assert line.tally.reasons == {("s0", kind): 1}
    assert (line.tally.done, line.tally.failed) == (8, 1)
    assert line.items[3].error is not None
    assert line.items[3].error.__traceback__ is None, "no error keeps the pictures of its traceback"


def test_a_value_that_the_column_can_not_hold_is_its_rows_error() -> None:
    line = done(Line([Encodes(batch=4, job=lambda value: "three" if value == 3 else value)], (None,), threads=2))  # type: ignore[arg-type,return-value]
    assert line.tally.failed == 1
    assert line.items[3].error is not None


@pytest.mark.parametrize("threads", [0, 2])
def test_an_input_whose_job_failed_is_not_done_though_its_other_stages_are(threads: int) -> None:
    stages: list[Adds] = [Adds(batch=1), Encodes(batch=9, job=failing(4, ValueError("no")))]
    line = done(Line(stages, (None, None), threads=threads))
    assert (line.tally.done, line.tally.failed) == (8, 1)


def test_an_input_is_done_when_its_last_job_is() -> None:
    gate = threading.Event()
    line = Line([Encodes(batch=1, job=lambda value: value if gate.wait(PATIENCE_S) else -1)], (None,), threads=1)
    line.add(0)
    assert line.tally.done == 0
    gate.set()
    line.queues.run_all()
    assert line.tally.done == 1


def test_the_next_batch_runs_while_jobs_are_under_way_but_few_batches_are_ahead() -> None:
    gate = threading.Event()
    stage = Encodes(batch=1, job=lambda value: value if gate.wait(PATIENCE_S) else -1)
    line = Line([stage], (None,), threads=1)
    for value in range(BATCHES_AHEAD):
        line.add(value)
    assert len(stage.seen) == BATCHES_AHEAD, "nothing waited for the first job"
    adding = threading.Thread(target=lambda: line.add(BATCHES_AHEAD))
    adding.start()
    adding.join(0.3)
    assert adding.is_alive(), "the first batch is waited for before more pictures are kept"
    gate.set()
    adding.join(PATIENCE_S)
    line.queues.run_all()
    assert line.values(0) == list(range(BATCHES_AHEAD + 1))


def test_the_memory_of_jobs_counts_until_each_has_run_and_room_is_made_by_waiting_for_them() -> None:
    gate = threading.Event()
    stage = Encodes(batch=2, job=lambda value: value if gate.wait(PATIENCE_S) else -1)
    line = Line([stage, Adds(batch=50)], (None, None), memory_bytes=200, threads=2)
    for value in range(4):
        line.add(value)
    assert line.budget.held_bytes == 160, "80 that wait for the second stage, and 80 that are being encoded"
    threading.Timer(0.1, gate.set).start()
    line.queues.make_room(120)
    assert line.budget.held_bytes == 80
    assert not line.stages[1].seen, "what is being encoded is waited for before a batch is run that is not full"


def test_a_job_that_memory_is_too_short_for_is_run_again_when_it_is_alone() -> None:
    under_way: set[int] = set()

    def job(value: int) -> int:
        under_way.add(value)
        time.sleep(0.02)
        is_alone = under_way == {value}
        under_way.remove(value)
        if value == 1 and not is_alone:
            raise MemoryError
        return value

    line = done(Line([Encodes(batch=4, job=job)], (None,), threads=4), values=8)
    assert line.values(0) == list(range(8))
    assert line.tally.failed == 0


@pytest.mark.parametrize("threads", [0, 2])
def test_a_job_that_lacks_memory_even_alone_is_a_row_with_that_reason(threads: int) -> None:
    line = done(Line([Encodes(batch=4, job=failing(2, MemoryError()))], (None,), threads=threads))
    assert line.tally.reasons == {("s0", "OutOfMemory"): 1}


@pytest.mark.parametrize("threads", [0, 2])
def test_a_device_that_fails_in_a_job_is_no_rows_fault(threads: int) -> None:
    error = torch.AcceleratorError("CUDA error: an illegal memory access")
    line = Line([Encodes(batch=2, job=failing(1, error))], (None,), threads=threads)
    with pytest.raises(DeviceFault, match="s0 on"):
        done(line)
    assert line.tally.failed == 0


def test_no_picture_is_kept_by_a_job_that_has_run() -> None:
    stage = Encodes(batch=3)
    line = Line([stage], (None,), threads=2)
    for value in range(3):
        line.add(value)
    assert comes(lambda: len(stage.threads) == 3 and line.budget.held_bytes == 0)
    assert comes(lambda: not any(each() is not None for each in stage.prepared))
