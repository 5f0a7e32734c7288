"""Columns of encoded pictures: the type that `datasets` takes for pictures, and metadata that Parquet keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.codecs.encode import encode_png
from pixelmill.workers.stages.picture_column import picture_field, picture_value

PIXELS_HWC = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)


def test_the_type_is_the_one_of_hugging_face_pictures() -> None:
    """`datasets.Image.pa_type`, written out: importing datasets takes seconds."""
    assert picture_field("mask").type == pa.struct({"bytes": pa.binary(), "path": pa.string()})


def test_a_field_has_the_metadata_that_it_was_given_as_bytes_and_none_without() -> None:
    assert picture_field("mask", metadata={"classes": '["sky"]'}).metadata == {b"classes": b'["sky"]'}
    assert picture_field("mask").metadata is None


def test_parquet_keeps_pictures_and_metadata(tmp_path: Path) -> None:
    field = picture_field("mask", metadata={"classes": '["sky", "Straße"]'})
    column = pa.array([picture_value(encode_png(PIXELS_HWC)), None], field.type)
    pq.write_table(pa.table([column], schema=pa.schema([field])), tmp_path / "part.parquet")
    read = pq.read_table(tmp_path / "part.parquet")
    assert read.schema.field("mask").metadata[b"classes"].decode() == '["sky", "Straße"]'
    first, second = read["mask"].to_pylist()
    assert first["path"] is None
    assert second is None
    assert np.array_equal(decode_picture(first["bytes"]).permute(1, 2, 0).numpy(), PIXELS_HWC)
