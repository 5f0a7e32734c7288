"""The order of samples: fixed by the seed, whatever the number of workers. Samples in tables and archives are shuffled
in blocks of neighbours, since reading one row of a table reads its whole group.

An order is numbers alone and holds no samples, so that it counts in samples and not in bytes: bytes are bounded where
samples are read (decoding.py), and the order does not change with a machine's memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

BLOCK_SAMPLES = 1024
BLOCKS_MIXED = 8


@dataclass(frozen=True)
class SampleOrder:
    """The order of samples: an endless sequence of shuffled passes over `samples`.

    `in_blocks` shuffles blocks of BLOCK_SAMPLES neighbours, then the samples of every BLOCKS_MIXED blocks in a row.
    """

    samples: int
    seed: int
    in_blocks: bool = False

    def indices(self, start: int, stop: int) -> np.ndarray:
        """The samples at these places of the sequence."""
        parts: list[np.ndarray] = [np.empty(0, np.int64)]
        for epoch in range(start // self.samples, -(-stop // self.samples)):
            first = epoch * self.samples
            shuffled = _shuffled(self.samples, self.seed, epoch, self.in_blocks)
            parts.append(shuffled[max(start - first, 0) : stop - first])
        return np.concatenate(parts)


@lru_cache(maxsize=4)
def _shuffled(samples: int, seed: int, epoch: int, in_blocks: bool) -> np.ndarray:
    random = np.random.default_rng([seed, epoch])
    if not in_blocks:
        return random.permutation(samples)
    blocks: list[np.ndarray] = np.split(np.arange(samples), range(BLOCK_SAMPLES, samples, BLOCK_SAMPLES))
    mixed: list[np.ndarray] = [blocks[number] for number in random.permutation(len(blocks))]
    groups: list[np.ndarray] = [
        np.concatenate(mixed[start : start + BLOCKS_MIXED]) for start in range(0, len(mixed), BLOCKS_MIXED)
    ]
    return np.concatenate([random.permutation(group) for group in groups])


def spread(samples: int, count: int) -> np.ndarray:
    """`count` evenly spaced places; all places where there are not more."""
    return np.linspace(0, samples - 1, min(count, samples)).round().astype(np.int64)
