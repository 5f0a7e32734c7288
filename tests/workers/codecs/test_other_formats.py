"""WebP, BMP, GIF and JPEG 2000, read as they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from pixelmill.workers.codecs.decode import decode_picture
from tests.corpus import encode, faded, photo
from tests.pixels import as_pixels, distance
from tests.workers.fates import ITEMS


@pytest.mark.parametrize("name", ["gif/animated.gif", "webp/animated.webp", "png/apng.png", "tiff/multi_page.tif"])
def test_of_an_animation_the_first_frame_is_decoded(name: str) -> None:
    assert distance(decode_picture(ITEMS[name].data), as_pixels(photo("chelsea"))).mean() < 6


@pytest.mark.parametrize("file_format", ["AVIF", "JPEG2000"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_avif_and_jpeg_2000_show_the_photograph_and_lay_alpha_on_white(file_format: str, mode: str) -> None:
    picture = faded() if mode == "RGBA" else photo().convert(mode)
    options = {"quality": 95, "speed": 10} if file_format == "AVIF" else {}
    white = Image.new("RGBA", picture.size, "white")
    shown = Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
    assert distance(decode_picture(encode(picture, file_format, **options)), as_pixels(shown)).mean() < 3


def test_jpeg_2000_is_read_as_a_bare_codestream_and_of_16_bits() -> None:
    bare = encode(photo(), "JPEG2000", no_jp2=True)
    assert bare.startswith(b"\xff\x4f")
    assert torch.equal(decode_picture(bare), as_pixels(photo()))
    grey_HW = np.asarray(photo().convert("L"))
    data = encode(Image.fromarray(grey_HW.astype(np.uint16) * 257), "JPEG2000")
    assert torch.equal(decode_picture(data), as_pixels(photo().convert("L")))
