"""PNG: a transparent colour is white at every depth."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from pixelmill.workers.codecs.decode import decode_picture
from tests.corpus import png, png_chunk
from tests.workers.fates import ITEMS


def test_a_transparent_colour_is_white() -> None:
    assert decode_picture(ITEMS["png/colour_key.png"].data).unique().tolist() == [255]
    opaque = png(4, 4, 8, 2, [b"\x0a\x14\x1e" * 4] * 4)
    assert decode_picture(opaque)[:, 0, 0].tolist() == [10, 20, 30]
    for name in ("png/palette_transparent.png", "gif/transparent.gif"):
        picture = Image.open(io.BytesIO(ITEMS[name].data))
        hidden_HW = torch.from_numpy(np.array(picture) == 3)
        assert hidden_HW.any()
        assert decode_picture(ITEMS[name].data)[:, hidden_HW].unique().tolist() == [255]


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_level_of_grey_is_white_at_every_depth(bits: int) -> None:
    most = 2**bits - 1
    levels = [0, most // 3, most - most // 3, most]
    packed = sum(level << bits * (3 - place) for place, level in enumerate(levels)) << -4 * bits % 8
    row = packed.to_bytes(-(-4 * bits // 8), "big")
    for place, level in enumerate(levels):
        data = png(4, 1, bits, 0, [row], png_chunk(b"tRNS", struct.pack(">H", level)))
        shown = [255 if other == level else round(other / most * 255) for other in levels]
        assert np.abs(decode_picture(data)[0, 0].numpy() - np.array(shown)).max() <= 1, (bits, place)


def test_a_transparent_colour_of_16_bits_is_white() -> None:
    values_HWC = np.array([[[1000, 2000, 3000], [60000, 2000, 3000]]], np.uint16)
    rows = [row.astype(">u2").tobytes() for row in values_HWC]
    data = png(2, 1, 16, 2, rows, png_chunk(b"tRNS", struct.pack(">HHH", 1000, 2000, 3000)))
    assert decode_picture(data)[:, 0].T.tolist() == [[255, 255, 255], [60000 >> 8, 2000 >> 8, 3000 >> 8]]
