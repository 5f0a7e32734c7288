"""Crops that arrive are counted in the worker's memory until the stages have run, and nothing else of them is kept."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import torch

from pixelmill.pipelines.bulk.arrivals import Arrivals, Arrived
from pixelmill.pipelines.bulk.crops import Cropping, CropRow, block_of
from pixelmill.pipelines.bulk.items import Item
from pixelmill.pipelines.bulk.stage_runner import StageRunner
from pixelmill.pipelines.bulk.tally import Tally
from pixelmill.workers.errors import RowError
from pixelmill.workers.runtime.budget import Budget
from pixelmill.workers.runtime.holdings import Holdings
from tests.pipelines.bulk.crop_stage import Crop, CropConfig

SIDE_PX = 8
CROP_BYTES = SIDE_PX * SIDE_PX * 3
STAGE = Crop(CropConfig(side_px=SIDE_PX))
CROPPINGS = (Cropping(0, "crop", STAGE.preprocess),)


class Given:
    """Chunks of two inputs each: a block, or None."""

    def __init__(self, *blocks: np.ndarray | None) -> None:
        self.blocks = blocks

    def stream(self, inputs: pa.Table) -> Iterator[Arrived]:
        for number, block in enumerate(self.blocks):
            yield 2 * number, inputs.slice(2 * number, 2), block


def block(*values: int | None) -> np.ndarray:
    """Pictures of one colour each; None for one that could not be decoded."""
    error = RowError("decode", "Corrupt", "is broken")
    rows = [
        CropRow(place, 30, 20, 0.5, 100, error, {})
        if value is None
        else CropRow(place, 30, 20, 0.5, 100, None, {0: torch.full((3, SIDE_PX, SIDE_PX), value, dtype=torch.uint8)})
        for place, value in enumerate(values)
    ]
    return block_of(rows, CROPPINGS)


class Worker:
    """What a worker has around its arrivals."""

    def __init__(self, *blocks: np.ndarray | None, memory_bytes: int = 1 << 20) -> None:
        self.budget, self.tally, self.asked = Budget(memory_bytes, 0), Tally(), list[int]()
        self.holdings = Holdings(self.budget)
        runners = [StageRunner("crop", 0, STAGE)]
        self.arrivals = Arrivals(Given(*blocks), CROPPINGS, runners, self.budget, self.holdings, self.tally)
        self.inputs = pa.table({"id": [f"{number}" for number in range(2 * len(blocks))]})
        self.here: list[str] = []

    def items(self) -> Iterator[Item]:
        return self.arrivals.stream(self.arrivals.chunks(self.inputs), self._decoded_here, self.asked.append)

    def _decoded_here(self, inputs: pa.Table) -> Iterator[Item]:
        self.here += inputs["id"].to_pylist()
        return (Item(place) for place in range(inputs.num_rows))


def test_inputs_keep_their_places_wherever_they_are_decoded() -> None:
    worker = Worker(block(1, 2), None, block(3, None))
    items = list(worker.items())
    assert [item.position for item in items] == [0, 1, 2, 3, 4, 5]
    assert worker.here == ["2", "3"]
    assert [str(item.error) for item in items if item.error] == ["is broken"]
    (row,) = items[4].rows
    assert (row.width, row.height) == (30, 20)
    assert int(row.prepared[0].prepared.max()) == int(row.prepared[0].prepared.min()) == 3
    assert row.prepared[0].pixels == SIDE_PX * SIDE_PX
    assert worker.tally.fetched_bytes == 400


def test_the_memory_of_each_crop_is_counted_until_the_stages_have_run_over_it() -> None:
    worker = Worker(block(1, 2))
    items = list(worker.items())
    assert worker.budget.held_bytes == 2 * CROP_BYTES
    worker.holdings.free([waiting.held for waiting in items[0].rows[0].prepared])
    assert worker.budget.held_bytes == CROP_BYTES  # a crop is no view of its block


def test_room_is_asked_for_before_a_crop_is_taken() -> None:
    worker = Worker(block(1, 2), block(3, 4), memory_bytes=2 * CROP_BYTES)
    list(worker.items())
    assert worker.asked == [CROP_BYTES, CROP_BYTES]
