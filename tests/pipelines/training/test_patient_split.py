"""No patient is on both sides of a split, and none changes sides when the archive grows."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.splits import Split, split
from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes.ct_autoencoder import CtAutoencoderRecipe
from tests.ct_tables import write_table


def parts(folder: Path, patients: int, hold_out: float = 0.3, test: float = 0.3) -> Split:
    write_table(folder / "a.parquet", patients, slices=2, side_px=8)
    return split(CtAutoencoderRecipe.ROLES, [str(folder)], [], hold_out, 0, Access(), test)


def patients_of(data: DataSet | None) -> set[str]:
    assert data is not None
    assert data.slices is not None
    assert len(data.slices.patients) == len(data)
    return set(data.slices.patients)


def test_no_patient_is_in_two_parts(tmp_path: Path) -> None:
    found = parts(tmp_path, 16)
    train, val, test = (patients_of(each) for each in (found.train, found.held_out, found.test))
    assert train | val | test == {f"p{number}" for number in range(16)}
    assert len(train) + len(val) + len(test) == 16
    assert len(found.train) == 2 * len(train)


def test_a_patient_stays_where_it_is_when_the_archive_grows(tmp_path: Path) -> None:
    few, many = parts(tmp_path, 16), parts(tmp_path, 40)
    for before, after in ((few.train, many.train), (few.held_out, many.held_out), (few.test, many.test)):
        assert patients_of(before) <= patients_of(after)


def test_a_count_of_slices_and_an_empty_side_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="held out by patient"):
        parts(tmp_path, 4, hold_out=3, test=0)
    with pytest.raises(DataError, match="leaves nothing on one side"):
        parts(tmp_path, 2, hold_out=1e-9, test=0)
