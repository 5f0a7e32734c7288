"""JPEG: a cut scan is never grey, inks become colours."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from pixelmill.workers.codecs.decode import decode_picture
from tests.corpus import encode, photo
from tests.pixels import as_pixels, distance
from tests.workers.fates import ITEMS, fate


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
