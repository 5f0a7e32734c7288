"""Slices of CT in tables and files, and their patients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.layouts.ct_slices import CtSlices, patient_of
from pixelmill.pipelines.training.reading import read_samples
from pixelmill.workers.ct.phantom_volume import phantom_volume
from pixelmill.workers.errors import DataError, JobError
from pixelmill.workers.recipes.ct_autoencoder import CtAutoencoderRecipe, CtAutoencoderSettings
from tests.ct_tables import write_lungs, write_table

RECIPE = CtAutoencoderRecipe(CtAutoencoderSettings(widths=(4, 8), size_px=32, crop_px=32), {})


def test_rows_of_ingest_are_read_exactly_with_their_patients_and_places(tmp_path: Path) -> None:
    write_table(tmp_path / "data" / "part-0.parquet", patients=2, slices=3)
    (tmp_path / "_run").mkdir()
    (tmp_path / "failed").mkdir()
    pq.write_table(pa.table({"error": ["none"]}), tmp_path / "failed" / "part-0.parquet")
    found = CtSlices().find([str(tmp_path)], Access(), None)
    assert found.slices is not None
    assert found.slices.patients == ("p0",) * 3 + ("p1",) * 3
    assert found.slices.positions_mm.tolist() == [0, 2, 4] * 2
    values = [sample["values"] for sample in read_samples(found, RECIPE)]
    expected = np.concatenate([phantom_volume(3, 32, seed).hu_DHW.astype(np.int16) for seed in (0, 1)])
    assert np.array_equal(np.stack(values), expected)


def test_files_are_of_the_patient_whose_id_is_in_their_name(tmp_path: Path) -> None:
    write_lungs(tmp_path, patients=3, slices=2)
    found = CtSlices().find([str(tmp_path / "images")], Access(), None)
    assert found.slices is not None
    assert sorted(set(found.slices.patients)) == ["ID_0000", "ID_0001", "ID_0002"]
    assert patient_of("a/000017.jpeg") == "000017"


def test_a_table_without_patients_is_refused(tmp_path: Path) -> None:
    table = pq.read_table(write_table(tmp_path / "a.parquet", 1))
    pq.write_table(table.drop_columns(["patient_id"]), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="no column patient_id"):
        CtSlices().find([str(tmp_path)], Access(), None)
    pq.write_table(table.set_column(1, "patient_id", pa.nulls(len(table), pa.string())), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="row 0 has no patient_id"):
        CtSlices().find([str(tmp_path)], Access(), None)


def test_an_empty_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="no input was found"):
        CtSlices().find([str(tmp_path)], Access(), None)
