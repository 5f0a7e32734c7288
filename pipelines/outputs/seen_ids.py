"""Which ids were seen before, in 16 bytes each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pixelmill.pipelines.arrow import Column, strings_of


def packed_ids(ids: Column) -> np.ndarray:
    """Ids of 32 hexadecimal digits as 16 bytes each, which sort as they do."""
    return np.frombuffer(bytes.fromhex("".join(strings_of(ids))), "S16")


class SeenIds:
    """Ids that were seen, in sorted runs whose lengths at least halve, so that each id is merged a few times and a lookup
    searches a few runs."""

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def add(self, ids: np.ndarray) -> npt.NDArray[np.bool_]:
        """Record these ids; returns for each whether it is new."""
        different, first = np.unique(ids, return_index=True)
        is_new = np.ones(len(different), bool)
        for run in self._runs:
            places = np.minimum(np.searchsorted(run, different), len(run) - 1)
            is_new &= run[places] != different
        if is_new.any():
            self._keep(different[is_new])
        is_first = np.zeros(len(ids), bool)
        is_first[first[is_new]] = True
        return is_first

    def _keep(self, run: np.ndarray) -> None:
        while self._runs and len(self._runs[-1]) < 2 * len(run):
            run = np.concatenate([self._runs.pop(), run])
        self._runs.append(np.sort(run, kind="stable"))
