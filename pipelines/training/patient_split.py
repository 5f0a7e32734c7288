"""Hold out patients, never slices: which side a patient is on follows from the patient alone, also when the archive grows."""

from __future__ import annotations

import numpy as np

from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.workers.ct.slice_facts import SliceFacts, chance_of
from pixelmill.workers.errors import DataError


def without_patients(
    whole: DataSet, slices: SliceFacts, share: float, seed: int, key: str
) -> tuple[DataSet, DataSet, str]:
    """The slices without those of some patients, those, and how these were chosen. `share` is of the patients. DataError
    where it is no share, or leaves a side empty."""
    patients = sorted(set(slices.patients))
    if share >= 1:
        raise DataError(f"{key} {share:g}: slices of CT are held out by patient; give a share of the patients, under 1")
    out = {patient for patient in patients if chance_of(patient, f"{key} {seed}") < share}
    if not out or len(out) == len(patients):
        raise DataError(
            f"{key} {share:g} of {len(patients)} patients, with seed {seed}, leaves nothing on one side; choose another "
            "share or seed, or name data of its own"
        )
    is_out = np.array([patient in out for patient in slices.patients])
    kept, held = np.flatnonzero(~is_out), np.flatnonzero(is_out)
    says = f"{len(held):,} slices of {len(out):,} of {len(patients):,} patients, by their keyed ids with seed {seed}"
    return whole.take(kept), whole.take(held), says
