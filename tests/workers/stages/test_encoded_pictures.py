"""Pictures as columns: each job gives the bytes of its own picture in the format, and keeps no more than it."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from pixelmill.workers.errors import RowError
from pixelmill.workers.stages.encoded_pictures import BYTES_PER_PIXEL, PictureFormat, encode_picture, encoded_pictures
from tests.corpus import photo

PHOTO_3HW = torch.from_numpy(np.asarray(photo(width=200, height=150)).copy()).permute(2, 0, 1)


@pytest.mark.parametrize(
    ("file_format", "read", "off"), [("png", "PNG", 0), ("jpeg", "JPEG", 40), ("webp", "WEBP", 40)]
)
def test_a_picture_survives_encoding_exactly_or_almost(file_format: PictureFormat, read: str, off: int) -> None:
    value = encode_picture(PHOTO_3HW, file_format)
    shown = Image.open(io.BytesIO(value["bytes"]))
    assert shown.format == read
    difference = np.abs(np.asarray(shown.convert("RGB")).astype(int) - PHOTO_3HW.permute(1, 2, 0).numpy())
    assert difference.max() <= off
    assert difference.mean() <= off / 10


def test_each_row_has_a_job_of_its_own_which_keeps_its_pixels() -> None:
    column = encoded_pictures([PHOTO_3HW, PHOTO_3HW[:, :10]], "png")
    assert [Image.open(io.BytesIO(job()["bytes"])).size for job in column.jobs] == [(200, 150), (200, 10)]  # type: ignore[index]
    assert [pixels.nbytes for pixels in column.pixels] == [PHOTO_3HW.nbytes, 6000]  # type: ignore[attr-defined]


def test_a_picture_that_a_format_can_not_hold_is_an_error_of_its_row() -> None:
    long_3HW = torch.zeros(3, 1, 16_384, dtype=torch.uint8)
    with pytest.raises(RowError, match="16,383"):
        encode_picture(long_3HW, "webp")
    assert encode_picture(long_3HW, "png")["bytes"]


@pytest.mark.parametrize("file_format", ["png", "jpeg", "webp"])
def test_the_bytes_of_a_photograph_are_foreseen_within_a_factor_of_four(file_format: PictureFormat) -> None:
    foreseen = BYTES_PER_PIXEL[file_format] * 200 * 150
    assert foreseen / 4 <= len(encode_picture(PHOTO_3HW, file_format)["bytes"]) <= foreseen * 4
