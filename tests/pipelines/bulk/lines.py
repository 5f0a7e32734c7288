"""Queues over a few stages that add one to every pixel, and the inputs that were added to them."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa
import torch
from torch import Tensor

from pixelmill.pipelines.bulk.deferred import Encoders
from pixelmill.pipelines.bulk.items import Item, Row
from pixelmill.pipelines.bulk.stage_queues import StageQueues
from pixelmill.pipelines.bulk.stage_runner import StageRunner, pixels_of
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
    prepared: list[weakref.ref[Tensor]] = field(default_factory=list)
    alive: list[int] = field(default_factory=list)
    alive_prepared: list[int] = field(default_factory=list)
    watched: Adds | None = None
    """A stage of which pictures, and what it prepared, are counted whenever this one runs."""
    fields: ClassVar[tuple[Any, ...]] = (pa.field("value", pa.int32()),)
    weights_sha256: ClassVar[None] = None
    settings: ClassVar[dict[str, object]] = {}

    def prepare(self, picture: Picture) -> Tensor:
        if int(picture.pixels.max()) == self.cannot_prepare:
            raise RowError("elsewhere", "Unfit", "can't be prepared")
        prepared = picture.pixels.clone()
        self.prepared.append(weakref.ref(prepared))
        return prepared

    def run(self, samples: Sequence[Tensor]) -> Milled:
        values = [int(sample.max()) for sample in samples]
        self.seen.append(values)
        if self.watched is not None:
            gc.collect()
            self.alive.append(sum(each() is not None for each in self.watched.made))
            self.alive_prepared.append(sum(each() is not None for each in self.watched.prepared))
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
    memory_bytes: int = 1 << 30
    threads: int = 0

    def __post_init__(self) -> None:
        self.budget = Budget(self.memory_bytes, 0)
        self.holdings = Holdings(self.budget)
        self.runners = [StageRunner(f"s{index}", index, stage) for index, stage in enumerate(self.stages)]
        self.tally = Tally()
        wiring = Wiring(tuple(runner.name for runner in self.runners), self.inputs, tuple(range(len(self.stages))))
        uris = [f"u{number}" for number in range(100)]
        encoders = Encoders(self.threads, self.holdings)
        self.queues = StageQueues(self.runners, wiring, self.holdings, encoders, self.tally, uris)
        self.items: list[Item] = []

    def add(self, *values: int, size: tuple[int, int] = (4, 5)) -> None:
        """One input with a row for each value."""
        item = Item(len(self.items))
        for value in values:
            picture = Picture(torch.full((1, *size), value, dtype=torch.uint8))
            row = Row(item, size[1], size[0], {})
            for runner in self.runners:
                if self.inputs[runner.index] is None:
                    waiting = runner.prepare(row, picture)
                    (waiting.held,) = self.holdings.hold([waiting.prepared])
                    row.prepared.append(waiting)
            item.rows.append(row)
        self.items.append(item)
        self.queues.add(item)

    def values_by_row(self, stage: int) -> dict[int, int]:
        rows = [row.item.position for row in self.queues.outputs[stage].rows]
        return dict(zip(rows, self.values(stage), strict=True))

    def values(self, stage: int) -> list[int]:
        output = self.queues.outputs[stage]
        return [value for chunk in output.chunks for value in chunk["value"].to_pylist()]
