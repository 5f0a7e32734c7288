"""Which patient and series each slice of a data set is of, and how patients are drawn: stable when an archive grows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SliceFacts:
    """Of each slice its patient, its series, and its place along the normal in mm, NaN where that is unknown."""

    patients: tuple[str, ...]
    series: tuple[str, ...]
    positions_mm: np.ndarray

    def take(self, indices: Sequence[int] | np.ndarray) -> SliceFacts:
        chosen: list[int] = np.asarray(indices, np.int64).tolist()
        return SliceFacts(
            tuple(self.patients[index] for index in chosen),
            tuple(self.series[index] for index in chosen),
            self.positions_mm[chosen],
        )


def chance_of(patient: str, purpose: str) -> float:
    """A number in [0, 1) that follows from the patient and the purpose alone, whoever else is in the data."""
    digest = hashlib.blake2b(f"{purpose}\0{patient}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def first_patients(patients: Iterable[str], count: int, purpose: str) -> list[str]:
    """So many of the patients, by their chance; the first few are among the first many."""
    return sorted(set(patients), key=lambda patient: (chance_of(patient, purpose), patient))[:count]


def thinned(facts: SliceFacts, step_mm: float) -> np.ndarray:
    """Indices of slices that lie at least `step_mm` apart in each series, from its first; all of an unknown place stay."""
    last: dict[str, float] = {}
    kept: list[int] = []
    order: list[int] = np.argsort(np.nan_to_num(facts.positions_mm), kind="stable").tolist()
    for index in order:
        place_mm, series = float(facts.positions_mm[index]), facts.series[index]
        if not np.isnan(place_mm):
            if place_mm - last.get(series, -np.inf) < step_mm - 1e-6:
                continue
            last[series] = place_mm
        kept.append(index)
    return np.sort(np.array(kept, np.int64))
