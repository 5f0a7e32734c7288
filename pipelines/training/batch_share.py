"""The share of each batch that one worker takes, and the random numbers of its chunks.

A step takes `batch` samples, wherever the epochs begin and end. Its samples are divided into chunks, each with random
numbers of its own that depend on the seed, the step and the chunk alone; a worker takes some of the chunks. So a
training that is resumed, or divided among more workers, sees the same batches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pixelmill.workers.errors import JobError

MOST_CHUNKS = 8


@dataclass(frozen=True)
class BatchShare:
    """The share of each batch that one of `workers` takes, in `accumulate` passes."""

    batch: int
    accumulate: int = 1
    workers: int = 1
    rank: int = 0

    def __post_init__(self) -> None:
        if self.batch % (self.workers * self.accumulate):
            raise JobError(
                f"settings.batch is {self.batch}: it has to be a multiple of workers x accumulate, "
                f"{self.workers} x {self.accumulate}; choose another"
            )

    @property
    def chunks(self) -> int:
        """The number of chunks of a batch: the same for 1, 2, 4 or 8 workers and passes where the batch allows it."""
        return math.lcm(math.gcd(self.batch, MOST_CHUNKS), self.workers * self.accumulate)

    def passes(self) -> list[list[int]]:
        """The numbers of this worker's chunks, pass by pass."""
        each = self.chunks // (self.workers * self.accumulate)
        first = self.rank * self.accumulate * each
        return [list(range(first + p * each, first + (p + 1) * each)) for p in range(self.accumulate)]

    @property
    def together(self) -> int:
        """The number of samples that go through the network at once."""
        return self.batch // (self.workers * self.accumulate)

    def places(self) -> slice:
        """This worker's part of a batch."""
        each = self.batch // self.workers
        return slice(self.rank * each, (self.rank + 1) * each)


def chunk_generator(seed: int, step: int, chunk: int) -> np.random.Generator:
    """The random numbers of one chunk of one step."""
    return np.random.default_rng([seed, 1, step, chunk])
