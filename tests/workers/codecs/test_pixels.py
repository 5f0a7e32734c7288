"""From any mode to RGB: alpha on white, the high byte of 16 bits."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.codecs.pixels import BAND_BYTES, to_pixels
from tests.corpus import photo, png16
from tests.pixels import as_pixels, distance
from tests.workers.fates import ITEMS

PLAIN = [
    *("jpeg/baseline.jpg", "jpeg/progressive.jpg", "jpeg/grey.jpg", "jpeg/rgb.jpg", "jpeg/no_jfif.jpg", "jpeg/422.jpg"),
    *("png/1_bit.png", "png/palette.png", "png/palette_4_bit.png", "png/grey.png", "tiff/cmyk.tif", "tiff/planar.tif"),
    *("tiff/bilevel_fax.tif", "tiff/palette.tif", "tiff/jpeg.tif", "tiff/big.tif", "gif/still.gif", "webp/lossy.webp"),
    *("bmp/top_down.bmp", "bmp/palette.bmp", "bmp/1_bit.bmp"),
]


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", [(1500, 1401), (400_000, 2), (1, 1)])
def test_a_picture_of_any_size_becomes_its_pixels_within_little_more_memory(mode: str, size: tuple[int, int]) -> None:
    picture = photo().resize(size).convert(mode)
    expected = as_pixels(picture)
    tracemalloc.start()
    try:
        pixels_CHW = to_pixels(picture)
        assert tracemalloc.get_traced_memory()[1] < expected.numel() + 4 * BAND_BYTES
    finally:
        tracemalloc.stop()
    assert torch.equal(pixels_CHW, expected)


@pytest.mark.parametrize("name", PLAIN)
def test_a_picture_without_alpha_equals_that_of_pillow(name: str) -> None:
    data = ITEMS[name].data
    assert torch.equal(decode_picture(data), as_pixels(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize(
    "name", ["png/rgb.png", "webp/lossless.webp", "bmp/24_bit.bmp", "tiff/lzw.tif", "tiff/tiled.tif"]
)
def test_a_lossless_format_gives_the_very_pixels(name: str) -> None:
    assert torch.equal(decode_picture(ITEMS[name].data), as_pixels(photo()))


@pytest.mark.parametrize("name", ["grey", "grey_white_is_zero", "grey_big_endian", "rgb", "rgba", "grey_alpha"])
def test_16_bits_that_were_8_give_the_8_back(name: str) -> None:
    colour_CHW = as_pixels(photo())
    grey_CHW = as_pixels(photo().convert("L"))
    expected_CHW = colour_CHW if name.startswith("rgb") else grey_CHW
    for path in (f"png/16_bit_{name}.png", f"tiff/16_bit_{name}.tif"):
        if path in ITEMS and "alpha" not in name and name != "rgba":
            assert torch.equal(decode_picture(ITEMS[path].data), expected_CHW)
        elif path in ITEMS:  # alpha is the grey picture: laid on white
            alpha_CHW = grey_CHW.float() / 255
            assert (
                distance(decode_picture(ITEMS[path].data), expected_CHW * alpha_CHW + 255 * (1 - alpha_CHW)).max() <= 1
            )


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_become_8_within_one_of_division_by_257(channels: int) -> None:
    values_HWC = np.random.default_rng(0).integers(0, 65536, (50, 60, channels), np.uint16)
    decoded_HWC = decode_picture(png16(values_HWC)).permute(1, 2, 0)[..., :channels].numpy()
    assert np.abs(decoded_HWC - values_HWC / 257).max() <= 1


@pytest.mark.parametrize("name", ["png/rgba.png", "png/grey_alpha.png", "webp/alpha.webp"])
def test_alpha_is_laid_on_white(name: str) -> None:
    picture = Image.open(io.BytesIO(ITEMS[name].data)).convert("RGBA")
    colour_CHW, alpha_HW = as_pixels(picture).float(), pil_to_tensor(picture.getchannel("A")).float() / 255
    assert alpha_HW.min() == 0
    expected_CHW = colour_CHW * alpha_HW + 255 * (1 - alpha_HW)
    assert distance(decode_picture(ITEMS[name].data), expected_CHW).max() <= 1
