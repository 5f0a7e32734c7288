"""JPEG: a cut scan is never grey, very many scans are refused, inks become colours."""

from __future__ import annotations

import io
import struct
from typing import Any

import pytest
from PIL import Image

from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.codecs.footprint import decode_bytes
from pixelmill.workers.errors import RowError
from tests.corpus import encode, photo
from tests.pixels import as_pixels, distance
from tests.workers.fates import ITEMS, fate


def many_scans(scans: int, side: int = 64) -> bytes:
    """A progressive JPEG that repeats its last scan."""
    jpeg = encode(photo(width=side, height=side).convert("L"), progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:-2] + jpeg[last:-2] * (scans - jpeg.count(b"\xff\xda")) + jpeg[-2:]


def test_a_jpeg_of_very_many_scans_is_refused_before_it_is_decoded() -> None:
    assert fate(many_scans(500)) == ("good", (64, 64))
    for reads in (decode_picture, decode_bytes):
        with pytest.raises(RowError, match=r"64 x 64 pixels in 501 scans") as caught:
            reads(many_scans(501))
        assert caught.value.error_type == "UnsupportedFormat"


def test_scans_are_counted_against_the_pixels_that_each_of_them_visits() -> None:
    wide = bytearray(many_scans(100))
    at = wide.index(b"\xff\xc2") + 5
    wide[at : at + 4] = struct.pack(">HH", 10_000, 10_000)
    assert fate(bytes(wide))[0] == "UnsupportedFormat"  # 100 scans of 100 megapixels
    assert decode_bytes(encode(photo(width=64, height=64), progressive=True)) > 0


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"quality": 95, "subsampling": 0},
        {"optimize": True},
        {"restart_marker_rows": 1},
        {"restart_marker_blocks": 3},
    ],
    ids=str,
)
def test_a_jpeg_cut_anywhere_is_truncated_even_with_an_end_marker_put_behind(options: dict[str, Any]) -> None:
    jpeg = encode(photo(), **options)
    start = jpeg.index(b"\xff\xda") + 14
    assert fate(jpeg)[0] == "good"
    for cut in range(start, len(jpeg) - 40, 97):
        assert fate(jpeg[:cut])[0] == "Truncated"
        # a cut through a stuffed FF 00 leaves FF FF D9, an end marker all the same
        assert fate(jpeg[:cut] + b"\xff\xd9")[0] == "Truncated"


@pytest.mark.parametrize("name", ["cmyk_adobe", "cmyk_without_adobe", "ycck"])
def test_cmyk_jpeg_shows_the_colours_of_the_photograph(name: str) -> None:
    data = ITEMS[f"jpeg/{name}.jpg"].data
    decoded_CHW = decode_picture(data)
    assert distance(decoded_CHW, as_pixels(photo())).mean() < 3
    assert distance(decoded_CHW, as_pixels(Image.open(io.BytesIO(data)))).max() <= 1
