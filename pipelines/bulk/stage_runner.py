"""Run one stage: batches within memory, by halves where it is short, one by one where a picture breaks its batch."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import cast

from pixelmill.pipelines.bulk.items import Row, Waiting
from pixelmill.pipelines.bulk.row_errors import filed_under, row_error_of
from pixelmill.workers.errors import RowError
from pixelmill.workers.pictures import Picture, pixel_count
from pixelmill.workers.runtime import stall_watchdog
from pixelmill.workers.runtime.faults import free_cached_memory, is_out_of_memory
from pixelmill.workers.stages import Milled, Prepared, SortsBySize, Stage


@dataclass
class Ran:
    """One batch that went through a stage, or broke it."""

    batch: Sequence[Waiting]
    milled: Milled


class StageRunner:
    """A stage under the name that it has in its job. How large a batch memory is there for, it learns for good."""

    def __init__(self, name: str, index: int, stage: Stage) -> None:
        self.name, self.index, self.stage = name, index, stage
        self._memory_pixels = sys.maxsize

    @property
    def most_pixels(self) -> int:
        """The most pixels in a batch of more than one picture."""
        stated = self.stage.batch_pixels
        return self._memory_pixels if stated is None else min(stated, self._memory_pixels)

    def prepare(self, row: Row, picture: Picture) -> Waiting:
        """What then waits for the stage. RowError where it can't take this picture, DeviceFault where the device fails."""
        try:
            prepared = self.stage.prepare(picture)
            return Waiting(row, self.index, prepared, pixels_of(prepared), self._bucket_of(prepared))
        except Exception as error:
            raise filed_under(self.name, row_error_of(error, self.name)) from error

    def _bucket_of(self, prepared: Prepared) -> Hashable:
        return self.stage.bucket_of(prepared) if isinstance(self.stage, SortsBySize) else None

    def run(self, batch: Sequence[Waiting]) -> list[Ran]:
        """The batch in one piece or in several. DeviceFault when it is the device that fails."""
        try:
            milled = self.stage.run([waiting.prepared for waiting in batch])
            stall_watchdog.progress()
            return [Ran(batch, milled)]
        except Exception as error:
            row_error = filed_under(self.name, row_error_of(error, self.name))
            lacks_memory = is_out_of_memory(error)
        # Here the exception is gone, and with it the tensors that its traceback keeps.
        if len(batch) == 1:
            return [Ran(batch, Milled({}, {0: row_error}))]
        return [ran for part in self._parts(batch, lacks_memory) for ran in self.run(part)]

    def _parts(self, batch: Sequence[Waiting], lacks_memory: bool) -> list[Sequence[Waiting]]:
        if not lacks_memory:
            return [[waiting] for waiting in batch]
        free_cached_memory()
        self._memory_pixels = sum(waiting.pixels for waiting in batch) // 2
        return split(batch, self._memory_pixels)


def split(batch: Sequence[Waiting], most_pixels: int) -> list[Sequence[Waiting]]:
    """The batch in parts, in order, each of at most so many pixels or of a single picture."""
    parts: list[list[Waiting]] = []
    pixels = 0
    for waiting in batch:
        if not parts or pixels + waiting.pixels > most_pixels:
            parts.append([])
            pixels = 0
        parts[-1].append(waiting)
        pixels += waiting.pixels
    return [*parts]


def pixels_of(prepared: Prepared) -> int:
    """The pixels of the first picture or tensor in what a stage prepared; 1 where there is none."""
    if hasattr(prepared, "shape"):
        return pixel_count(prepared)
    if isinstance(prepared, Picture):
        return prepared.pixel_count
    if isinstance(prepared, dict):
        prepared = list(cast("dict[str, Prepared]", prepared).values())
    elif is_dataclass(prepared):
        prepared = [getattr(prepared, field.name) for field in fields(prepared)]
    if isinstance(prepared, list | tuple):
        first = cast("Sequence[Prepared]", prepared)[:1]
        return pixels_of(first[0]) if first else 1
    return 1


def errors_of(ran: Ran) -> list[tuple[Waiting, RowError]]:
    """Which of the batch could not be done, and why."""
    return [(ran.batch[place], error) for place, error in ran.milled.errors.items()]
