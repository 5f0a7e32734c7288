"""A table that a run wrote is recognized by its metadata, and gives the ids of its inputs on."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pixelmill.pipelines.inputs.earlier_runs import METADATA_KEY
from pixelmill.pipelines.inputs.entries import Ignored, Source
from pixelmill.pipelines.inputs.sources import entries


def png(image_HWC: np.ndarray) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(image_HWC).save(sink, "PNG")
    return sink.getvalue()


@pytest.mark.parametrize(
    ("columns", "carried"),
    [
        ({"id": ["a", "b"]}, ["a", "b"]),
        ({"id": ["a", "b"], "source_id": ["x", None]}, ["x", "b"]),
        ({"id": ["a", "b"], "source_id": [1, 2]}, ["a", "b"]),
    ],
)
def test_rows_of_a_run_carry_the_first_id_of_their_input(
    tmp_path: Path, columns: dict[str, list[object]], carried: list[str]
) -> None:
    made = pa.table(columns | {"image": [png(np.zeros((2, 2, 3), np.uint8))] * 2})
    pq.write_table(made.replace_schema_metadata({METADATA_KEY: "{}"}), tmp_path / "t.parquet")
    assert [entry.source_id for entry in entries(Source((str(tmp_path),)), Ignored())] == carried


def test_a_table_that_no_run_wrote_has_no_source_ids(tmp_path: Path) -> None:
    image = png(np.zeros((2, 2, 3), np.uint8))
    pq.write_table(pa.table({"id": ["a", "b"], "source_id": ["x", "y"], "image": [image] * 2}), tmp_path / "t.parquet")
    found = list(entries(Source((str(tmp_path),)), Ignored()))
    assert [entry.source_id for entry in found] == [None, None]


@pytest.mark.parametrize("ids", [pa.array([1, 2]), pa.array(["x" * 129, None]), pa.array([b"a", b"b"])])
def test_invalid_ids_are_not_carried_on_despite_the_metadata(tmp_path: Path, ids: pa.Array) -> None:
    made = pa.table({"id": ids, "image": [png(np.zeros((2, 2, 3), np.uint8))] * 2})
    pq.write_table(made.replace_schema_metadata({METADATA_KEY: "{}"}), tmp_path / "t.parquet")
    found = list(entries(Source((str(tmp_path),), column="image"), Ignored()))
    assert [entry.source_id for entry in found] == [None, None]
