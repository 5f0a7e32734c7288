"""Run one stage: in batches that fit into memory, halved if memory is short, one by one if a picture fails its batch."""

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
    """The result of one batch: its output, or the error of the stage."""

    batch: Sequence[Waiting]
    milled: Milled


class StageRunner:
    """A stage under its name in the job. It remembers the size of batch for which there is memory."""

    def __init__(self, name: str, index: int, stage: Stage) -> None:
        self.name, self.index, self.stage = name, index, stage
        self._memory_pixels = sys.maxsize
        # looked up once: a look for a protocol's methods takes longer than everything else that is done here for a picture
        self._bucket_of = stage.bucket_of if isinstance(stage, SortsBySize) else _the_only_bucket

    @property
    def most_pixels(self) -> int:
        """The most pixels in a batch of more than one picture."""
        stated = self.stage.batch_pixels
        return self._memory_pixels if stated is None else min(stated, self._memory_pixels)

    def prepare(self, row: Row, picture: Picture) -> Waiting:
        """The prepared sample. RowError if the stage can't take this picture, DeviceFault if the device fails."""
        try:
            return self.waiting(row, self.stage.prepare(picture))
        except Exception as error:
            raise filed_under(self.name, row_error_of(error, self.name)) from error

    def waiting(self, row: Row, prepared: Prepared) -> Waiting:
        """A prepared sample of a row, as it waits for the stage."""
        return Waiting(row, self.index, prepared, pixels_of(prepared), self._bucket_of(prepared))

    def run(self, batch: Sequence[Waiting]) -> list[Ran]:
        """Run the batch in one piece or in several. DeviceFault if the device fails."""
        try:
            milled = self.stage.run([waiting.prepared for waiting in batch])
            stall_watchdog.progress()
            return [Ran(batch, milled)]
        except Exception as error:
            row_error = filed_under(self.name, row_error_of(error, self.name))
            lacks_memory = is_out_of_memory(error)
        # Outside of the except block the exception is released, and with it the tensors that its traceback holds.
        if len(batch) == 1:
            return [Ran(batch, Milled({}, {0: row_error}))]
        return [ran for part in self._parts(batch, lacks_memory) for ran in self.run(part)]

    def _parts(self, batch: Sequence[Waiting], lacks_memory: bool) -> list[Sequence[Waiting]]:
        if not lacks_memory:
            return [[waiting] for waiting in batch]
        free_cached_memory()
        self._memory_pixels = sum(waiting.pixels for waiting in batch) // 2
        return split(batch, self._memory_pixels)


def _the_only_bucket(_: Prepared) -> Hashable:
    return None


def split(batch: Sequence[Waiting], most_pixels: int) -> list[Sequence[Waiting]]:
    """Split the batch, in order, into parts of at most so many pixels or of a single picture."""
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
    """The pixels of the first picture or tensor in a prepared sample; 1 if there is none."""
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
    """The errors of the batch, by position."""
    return [(ran.batch[place], error) for place, error in ran.milled.errors.items()]
