"""Every EXIF orientation is turned upright."""

from __future__ import annotations

import pytest
import torch

from pixelmill.workers.codecs.decode import decode_picture
from tests.corpus import encode, photo, stored
from tests.pixels import as_pixels, distance
from tests.workers.fates import ITEMS


@pytest.mark.parametrize("name", [name for name in ITEMS if name.startswith("orientation/")])
def test_every_orientation_is_turned_upright(name: str) -> None:
    upright_CHW = as_pixels(photo("coffee"))
    decoded_CHW = decode_picture(ITEMS[name].data)
    if name.endswith(".jpg"):
        assert distance(decoded_CHW, upright_CHW).mean() < 3  # turned wrongly: over 40
    else:
        assert torch.equal(decoded_CHW, upright_CHW)


def test_orientation_swaps_width_and_height() -> None:
    upright = photo("coffee", 31, 17)
    tall = stored(upright, 6)
    assert tall.size == (17, 31)
    data = encode(tall, "PNG", exif=b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0")  # big-endian
    assert torch.equal(decode_picture(data), as_pixels(upright))
