"""Stages in a graph: each reads the original or another's picture, and no picture is kept longer than it is wanted."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa
import pytest
import torch
from torch import Tensor

from pixelmill.pipelines.bulk.items import Item, Row, Waiting
from pixelmill.pipelines.bulk.stage_queues import StageQueues
from pixelmill.pipelines.bulk.stage_runner import StageRunner, pixels_of, split
from pixelmill.pipelines.bulk.tally import Tally
from pixelmill.workers.errors import RowError
from pixelmill.workers.pictures import Picture
from pixelmill.workers.runtime.budget import Budget
from pixelmill.workers.runtime.holdings import Holdings
from pixelmill.workers.stages import Milled
from pixelmill.workers.stages.wiring import Wiring


@dataclass
class Adds:
    """Adds one to every pixel, records its batches, and watches which pictures of the whole test are alive meanwhile."""

    batch: int = 2
    batch_pixels: int | None = None
    refuses: int | None = None
    breaks_on: int | None = None
    cannot_prepare: int | None = None
    memory_pixels: int | None = None
    makes_pictures: bool = True
    seen: list[list[int]] = field(default_factory=list)
    made: list[weakref.ref[Tensor]] = field(default_factory=list)
    alive: list[int] = field(default_factory=list)
    watched: Adds | None = None
    """A stage whose pictures are counted whenever this one runs."""
    fields: ClassVar[tuple[Any, ...]] = (pa.field("value", pa.int32()),)
    weights_sha256: ClassVar[None] = None
    settings: ClassVar[dict[str, object]] = {}

    def prepare(self, picture: Picture) -> Tensor:
        if int(picture.pixels.max()) == self.cannot_prepare:
            raise RowError("elsewhere", "Unfit", "can't be prepared")
        return picture.pixels.clone()

    def run(self, samples: Sequence[Tensor]) -> Milled:
        values = [int(sample.max()) for sample in samples]
        self.seen.append(values)
        if self.watched is not None:
            gc.collect()
            self.alive.append(sum(each() is not None for each in self.watched.made))
        if self.memory_pixels is not None and sum(map(pixels_of, samples)) > self.memory_pixels:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if self.breaks_on in values:
            raise ArithmeticError("broke")
        errors = {
            place: RowError("kind", "Refused", "no") for place, value in enumerate(values) if value == self.refuses
        }
        pictures = [Picture(sample + 1) for sample in samples] if self.makes_pictures else []
        self.made += [weakref.ref(picture.pixels) for picture in pictures]
        return Milled({"value": pa.array(values, pa.int32())}, errors, pictures)


@dataclass
class Line:
    """Queues over a few stages, and the inputs that were added."""

    stages: list[Adds]
    inputs: tuple[int | None, ...]
    sizes: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.budget = Budget(1 << 30, 0)
        self.holdings = Holdings(self.budget)
        self.runners = [StageRunner(f"s{index}", index, stage) for index, stage in enumerate(self.stages)]
        self.tally = Tally()
        wiring = Wiring(tuple(runner.name for runner in self.runners), self.inputs, tuple(range(len(self.stages))))
        uris = [f"u{number}" for number in range(100)]
        self.queues = StageQueues(self.runners, wiring, self.holdings, self.tally, uris)
        self.items: list[Item] = []

    def add(self, *values: int, size: tuple[int, int] = (4, 5)) -> None:
        """One input with a row for each value."""
        item = Item(len(self.items))
        for value in values:
            picture = Picture(torch.full((1, *size), value, dtype=torch.uint8))
            row = Row(item, size[1], size[0], {})
            for runner in self.runners:
                if self.inputs[runner.index] is None:
                    prepared = runner.prepare(picture)
                    (held,) = self.holdings.hold([prepared])
                    row.prepared.append(Waiting(row, runner.index, prepared, pixels_of(prepared), held))
            item.rows.append(row)
        self.items.append(item)
        self.queues.add(item)

    def values(self, stage: int) -> list[int]:
        output = self.queues.outputs[stage]
        return [value for chunk in output.chunks for value in chunk["value"].to_pylist()]


def test_a_stage_reads_what_another_made_of_every_picture() -> None:
    line = Line([Adds(batch=3), Adds(batch=2), Adds(batch=4)], (None, 0, 1))
    for value in range(7):
        line.add(value)
    line.queues.run_all()
    assert [line.values(stage) for stage in range(3)] == [list(range(n, 7 + n)) for n in range(3)]
    assert (line.tally.done, line.tally.failed) == (7, 0)
    assert line.budget.held_bytes == 0


def test_a_picture_that_two_stages_read_reaches_both() -> None:
    line = Line([Adds(), Adds(batch=1), Adds(batch=100)], (None, 0, 0))
    for value in range(5):
        line.add(value)
    line.queues.run_all()
    assert line.values(1) == line.values(2) == [1, 2, 3, 4, 5]


def test_a_picture_is_freed_as_soon_as_every_stage_that_reads_it_has_what_it_wants() -> None:
    first = Adds(batch=4)
    second = Adds(batch=1, watched=first)
    line = Line([first, second], (None, 0))
    for value in range(8):
        line.add(value)
    line.queues.run_all()
    assert second.alive == [3, 2, 1, 0] * 2, "the pictures before it in the batch are gone"
    assert line.budget.held_bytes == 0


def test_pictures_that_no_stage_reads_are_not_kept() -> None:
    first, second = Adds(batch=2), Adds(batch=3)
    second.watched = first
    line = Line([first, second], (None, None))
    for value in range(6):
        line.add(value)
    line.queues.run_all()
    assert second.alive == [0, 0]


@pytest.mark.parametrize("fault", [{"refuses": 3}, {"breaks_on": 3}, {"cannot_prepare": 3}, {"makes_pictures": False}])
@pytest.mark.parametrize("at", [1, 2])
def test_an_input_that_fails_in_a_later_stage_is_one_failure_under_that_stages_name(
    fault: dict[str, Any], at: int
) -> None:
    stages = [Adds(batch=3), Adds(batch=2), Adds(batch=2), Adds(batch=5)]
    if fault == {"makes_pictures": False}:
        at -= 1
    stages[at] = Adds(batch=2, **fault)
    line = Line(stages, (None, 0, 1, None))
    for value in range(6):
        line.add(value)
    line.queues.run_all()
    failed = [item for item in line.items if item.error is not None]
    expected = range(6) if fault == {"makes_pictures": False} else [3 - at]
    assert [item.position for item in failed] == list(expected)
    assert {item.error.stage for item in failed if item.error} == {f"s{at}"}
    assert (line.tally.done, line.tally.failed) == (6 - len(failed), len(failed))
    assert set(line.tally.reasons) == {(item.error.stage, item.error.error_type) for item in failed if item.error}
    assert line.budget.held_bytes == 0


def test_one_row_that_fails_fails_its_input_and_is_one_failure() -> None:
    line = Line([Adds(batch=2, refuses=5), Adds(batch=3)], (None, 0))
    line.add(1, 2, 3)
    line.add(4, 5, 5)
    line.add(6)
    line.queues.run_all()
    assert [item.error is None for item in line.items] == [True, False, True]
    assert (line.tally.done, line.tally.failed) == (2, 1)
    assert line.tally.reasons == {("s0", "Refused"): 1}
    assert line.budget.held_bytes == 0


def test_no_error_keeps_the_pictures_of_its_traceback() -> None:
    first = Adds(batch=2)
    line = Line([first, Adds(cannot_prepare=3)], (None, 0))
    for value in range(6):
        line.add(value)
    line.queues.run_all()
    gc.collect()
    assert line.items[2].error is not None
    assert line.items[2].error.__traceback__ is None
    assert not any(each() is not None for each in first.made)


def test_a_batch_is_bounded_in_pixels_and_a_larger_picture_comes_alone() -> None:
    stage = Adds(batch=100, batch_pixels=100)
    line = Line([stage], (None,))
    for value, size in enumerate([(5, 10), (5, 9), (5, 2), (20, 20), (1, 1), (1, 1), (10, 10), (3, 3)]):
        line.add(value, size=size)
    line.queues.run_all()
    assert stage.seen == [[0, 1], [2], [3], [4, 5], [6], [7]]


def test_memory_that_is_short_bounds_later_batches_by_their_pixels() -> None:
    stage = Adds(batch=8, memory_pixels=60)
    line = Line([stage], (None,))
    for value in range(8):
        line.add(value, size=(4, 5))
    assert stage.seen == [list(range(8)), [0, 1, 2, 3], [0, 1], [2, 3], [4, 5, 6, 7], [4, 5], [6, 7]]
    stage.seen.clear()
    for value in range(3):
        line.add(value, size=(5, 10))
    for value in range(9):
        line.add(value, size=(2, 5))
    line.queues.run_all()
    assert stage.seen == [[0], [1], [2], [0, 1, 2, 3], [4, 5, 6, 7], [8]]
    assert line.tally.failed == 0


def test_parts_of_a_batch_are_in_order_and_within_the_bound() -> None:
    batch = [Waiting(None, 0, None, pixels) for pixels in (3, 3, 3, 9, 1, 1)]  # type: ignore[arg-type]
    assert [[each.pixels for each in part] for part in split(batch, 6)] == [[3, 3], [3], [9], [1, 1]]
