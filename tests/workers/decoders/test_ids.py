"""The decoder of class ids: one mask of one PNG, upright, and what it refuses."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from pixelmill.workers.codecs.encode import encode_png, encode_png16, encode_png_palette
from pixelmill.workers.decoders import decoder_of
from pixelmill.workers.errors import RowError

DECODER = decoder_of("ids")
IDS_HW = np.arange(12, dtype=np.uint8).reshape(3, 4)
DATA = encode_png_palette(IDS_HW, [(level, 0, 9) for level in range(0, 240, 20)])


def test_a_palette_png_is_its_indices_as_ids8() -> None:
    (decoded,) = DECODER.decode((DATA,), max_pixels=12)
    assert DECODER.kind == decoded.picture.kind == "ids8"
    assert decoded.picture.pixels.dtype == torch.uint8
    assert np.array_equal(decoded.picture.pixels[0].numpy(), IDS_HW)
    assert DECODER.need_bytes((DATA,)) > 12


def test_a_mask_is_turned_as_a_viewer_shows_it() -> None:
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.fromarray(IDS_HW).save(file, "PNG", exif=exif)
    (decoded,) = DECODER.decode((file.getvalue(),), max_pixels=12)
    assert np.array_equal(decoded.picture.pixels[0].numpy(), np.rot90(IDS_HW, -1))


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ((encode_png(np.zeros((3, 4, 3), np.uint8)),), "colours, not class ids: save the ids"),
        ((DATA, DATA), "a mask is in one file"),
        ((), "a mask is in one file"),
    ],
)
def test_a_file_that_is_no_mask_is_refused_by_a_check_as_by_a_decode(pieces: tuple[bytes, ...], message: str) -> None:
    for method in (DECODER.check, DECODER.decode):
        with pytest.raises(RowError, match=message):
            method(pieces, max_pixels=12)


def test_an_id_that_ids8_can_not_hold_is_refused() -> None:
    with pytest.raises(RowError, match="the id 300"):
        DECODER.decode((encode_png16(np.full((3, 4), 300, np.uint16)),), max_pixels=12)
