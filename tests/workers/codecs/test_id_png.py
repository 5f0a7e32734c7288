"""Ids are read as a PNG stores them; a file that can't hold ids is refused by its header."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from pixelmill.workers.codecs.encode import encode_jpeg, encode_png, encode_png16, encode_png_palette
from pixelmill.workers.codecs.id_png import check_ids, decode_ids, holds_colours
from pixelmill.workers.errors import RowError

IDS_HW = np.random.default_rng(0).integers(0, 3, (5, 7), np.uint8)
COLOURS = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
RGB = encode_png(np.zeros((5, 7, 3), np.uint8))
JPEG = encode_jpeg(torch.zeros(3, 5, 7, dtype=torch.uint8))


def png(picture: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", **options)
    return file.getvalue()


def with_two_bits(data: bytes) -> bytes:
    """A grey PNG whose header states 2 bits a level."""
    head = data[12:24] + bytes([2]) + data[25:29]
    return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encode_png(IDS_HW), id="grey"),
        pytest.param(encode_png_palette(IDS_HW, COLOURS), id="palette"),
        pytest.param(encode_png16(IDS_HW.astype(np.uint16)), id="16 bits"),
        pytest.param(png(Image.fromarray(IDS_HW.astype(np.uint16)), transparency=1), id="16 bits, one transparent"),
    ],
)
def test_levels_and_indices_are_ids(data: bytes) -> None:
    ids_HW, orientation = decode_ids(data)
    assert np.array_equal(ids_HW, IDS_HW)
    assert orientation == 1
    assert not holds_colours(data)


def test_a_mask_of_one_bit_holds_the_ids_0_and_1() -> None:
    is_inside_HW = IDS_HW % 2 == 0
    ids_HW, _ = decode_ids(png(Image.fromarray(is_inside_HW)))
    assert ids_HW.dtype == np.uint8
    assert np.array_equal(ids_HW, is_inside_HW)


@pytest.mark.parametrize(
    ("data", "error_type", "message"),
    [
        (RGB, "UnsupportedFormat", "holds colours, not class ids"),
        (JPEG, "UnsupportedFormat", "is no PNG"),
        (with_two_bits(encode_png(IDS_HW)), "UnsupportedFormat", "2-bit grey levels"),
        (b"<html>", "NotAnImage", "web page|HTML"),
        (b"", "Empty", "0 bytes"),
        (encode_png(IDS_HW)[:20], "Truncated", "the end of the file is missing"),
    ],
)
def test_a_file_without_ids_is_refused_by_its_header(data: bytes, error_type: str, message: str) -> None:
    for act in (lambda: check_ids(data, max_pixels=99), lambda: decode_ids(data)):
        with pytest.raises(RowError, match=message) as caught:
            act()
        assert (caught.value.stage, caught.value.error_type) == ("decode", error_type)


def test_a_file_that_is_cut_or_too_large_is_refused() -> None:
    whole = encode_png(np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8))
    with pytest.raises(RowError, match="the end of the file is missing"):
        decode_ids(whole[:-200])
    with pytest.raises(RowError, match="over max_pixels = 1,599"):
        decode_ids(whole, max_pixels=1599)


def test_colours_are_distinguished_from_ids() -> None:
    assert holds_colours(RGB)
    assert holds_colours(JPEG)
