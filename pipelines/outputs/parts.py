"""Cut a listing into parts: the units of work, of output and of commit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pixelmill.pipelines.outputs.sizing import cut_large, foreseen_bytes

RowBytes = Callable[[int], int]
"""About how many bytes of output a row makes whose picture has so many pixels."""

FIRST_PART_ROWS = 16
PARTS_PER_JOB = 256
STEADY_PART_ROWS = 384
ROWS_PER_WORKER, MOST_WORKERS = 2_000, 64


@dataclass(frozen=True)
class Part:
    """A range of rows of one segment: `rows` of them from `start`. `number` counts through all segments."""

    number: int
    segment: int
    start: int
    rows: int
    writer: str = ""
    """The attempt that listed the segment."""

    @property
    def name(self) -> str:
        return f"part-{self.number:06d}"


def size_parts(
    pixels: npt.NDArray[np.int64], row_bytes: RowBytes, *, file_bytes: int, rows_per_input: float = 1.0
) -> list[int]:
    """Cut inputs of so many pixels each (0: unknown) into parts, each with at most `file_bytes` of output by estimate."""
    foreseen = foreseen_bytes(pixels, row_bytes, rows_per_input)
    least_bytes = max(1, round(int(foreseen.min()) / rows_per_input)) if len(foreseen) else 1
    planned = plan_parts(len(pixels), row_bytes=least_bytes, file_bytes=file_bytes, rows_per_input=rows_per_input)
    return cut_large(planned, foreseen, file_bytes, max(1, round(FIRST_PART_ROWS / rows_per_input)))


def plan_parts(inputs: int, *, row_bytes: int, file_bytes: int, rows_per_input: float = 1.0) -> list[int]:
    """Cut `inputs` into parts: about PARTS_PER_JOB of equal size and some smaller ones, each at most `file_bytes` of output.

    The first parts are small, so that results come early, and double in size; the last ones shrink, so that all workers finish
    together. The number of workers is guessed from the rows alone: parts must not depend on the machine that lists. All parts but
    the last are multiples of FIRST_PART_ROWS, because a network takes as long for half a batch as for most of one. A killed job
    loses at most one part per worker.

    An input that makes many rows is never cut, so a part may exceed its size by the rows of one input.
    """
    first = max(1, round(FIRST_PART_ROWS / rows_per_input))
    rows = round(inputs * rows_per_input)
    workers = min(max(rows // ROWS_PER_WORKER, 2), MOST_WORKERS)
    most = _whole(max(1, int(file_bytes / (max(1, row_bytes) * rows_per_input))), first)
    steady_inputs = round(STEADY_PART_ROWS / rows_per_input)
    steady = max(inputs // PARTS_PER_JOB, min(steady_inputs, inputs // (4 * workers)), first)
    steady = min(_whole(steady, first), most)
    sizes: list[int] = []
    left = inputs
    while left > 0:
        ramp = first << min(len(sizes) // workers, 40)
        taper = max(first, _whole(left // (2 * workers), first))
        sizes.append(min(steady, ramp, taper, most, left))
        left -= sizes[-1]
    return sizes


def _whole(inputs: int, first: int) -> int:
    """Rounded down to a multiple of `first`; unchanged if it is smaller than `first`."""
    return inputs - inputs % first if inputs > first else inputs
