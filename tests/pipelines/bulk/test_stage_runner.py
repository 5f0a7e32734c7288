"""One stage under its name: batches are cut by pixels, a picture that breaks its batch costs itself, errors keep no pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa
import pytest
import torch

from pixelmill.pipelines.bulk.items import Item, Row, Waiting
from pixelmill.pipelines.bulk.stage_runner import StageRunner, errors_of, pixels_of, split
from pixelmill.workers.errors import RowError
from pixelmill.workers.pictures import Picture
from pixelmill.workers.runtime.faults import DeviceFault
from pixelmill.workers.stages import Milled


@dataclass
class Moody:
    """Fails as it is told to on a batch with the number that it is told."""

    failure: Exception | None = None
    on: int = 3
    seen: list[int] = field(default_factory=list)
    batch: ClassVar[int] = 8
    batch_pixels: int | None = None
    fields: ClassVar[tuple[Any, ...]] = ()
    weights_sha256: ClassVar[None] = None
    settings: ClassVar[dict[str, object]] = {}

    def prepare(self, picture: Picture) -> int:
        if self.failure is not None:
            raise self.failure
        return 0

    def run(self, samples: Sequence[int]) -> Milled:
        self.seen.append(len(samples))
        if self.failure is not None and self.on in samples:
            raise self.failure
        return Milled({"value": pa.array(samples)}, {})


def waiting(number: int, pixels: int = 1) -> Waiting:
    return Waiting(Row(Item(number), 1, 1, {}), 0, number, pixels)


ROW = Row(Item(0), 1, 1, {})
BATCH = [waiting(number) for number in range(6)]


def test_a_picture_that_breaks_its_batch_costs_itself() -> None:
    ran = StageRunner("mine", 0, Moody(ArithmeticError("broke"))).run(BATCH)
    assert [len(each.batch) for each in ran] == [1] * 6
    ((of, error),) = [failed for each in ran for failed in errors_of(each)]
    assert (of.prepared, error.stage, error.error_type, str(error)) == (3, "mine", "ArithmeticError", "broke")


def test_an_error_is_filed_under_the_name_that_the_stage_has_in_its_job() -> None:
    runner = StageRunner("mine", 0, Moody(RowError("kind", "Odd", "is odd")))
    with pytest.raises(RowError) as caught:
        runner.prepare(ROW, Picture(torch.zeros(3, 2, 2)))
    assert (caught.value.stage, caught.value.error_type) == ("mine", "Odd")
    (error,) = [error for each in runner.run(BATCH) for _, error in errors_of(each)]
    assert (error.stage, error.__traceback__, error.__context__) == ("mine", None, None)


def test_a_device_that_fails_is_no_rows_fault() -> None:
    runner = StageRunner("mine", 0, Moody(torch.AcceleratorError("CUDA error: an illegal memory access")))
    with pytest.raises(DeviceFault, match="mine on"):
        runner.run(BATCH)
    with pytest.raises(DeviceFault, match="mine on"):
        runner.prepare(ROW, Picture(torch.zeros(3, 2, 2)))


def test_a_stage_states_a_bound_in_pixels_and_memory_may_lower_it() -> None:
    stage = Moody(torch.OutOfMemoryError("CUDA out of memory"), batch_pixels=100)
    runner = StageRunner("mine", 0, stage)
    assert runner.most_pixels == 100
    runner.run([waiting(number, pixels=10) for number in range(6)])
    assert stage.seen[0] == 6
    assert runner.most_pixels < 60


def test_parts_of_a_batch_are_in_order_and_within_the_bound() -> None:
    batch = [waiting(0, pixels) for pixels in (3, 3, 3, 9, 1, 1)]
    assert [[each.pixels for each in part] for part in split(batch, 6)] == [[3, 3], [3], [9], [1, 1]]


def test_pixels_are_those_of_the_first_picture_in_a_prepared_sample() -> None:
    frame_CHW = torch.zeros(3, 4, 5)
    for prepared in (frame_CHW, Picture(frame_CHW), (frame_CHW, torch.zeros(9, 9)), {"a": [Picture(frame_CHW)]}):
        assert pixels_of(prepared) == 20
    assert [pixels_of(prepared) for prepared in (torch.zeros(7), 3, "text", (), {}, None)] == [1] * 6
    assert pixels_of(torch.zeros(6, 1, 4, 5)) == 120
