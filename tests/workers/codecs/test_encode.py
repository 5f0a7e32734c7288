"""Encoders keep every value, or refuse."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.codecs.encode import encode_jpeg, encode_png, encode_png16, encode_png_palette
from tests.corpus import photo
from tests.pixels import as_pixels, distance


def reread(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("shape", [(30, 40), (30, 40, 3), (30, 40, 4), (1, 1)])
def test_png_keeps_every_value(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert np.array_equal(reread(encode_png(pixels)), pixels)


def test_png16_keeps_every_value() -> None:
    values_HW = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    data = encode_png16(values_HW)
    assert np.array_equal(reread(data), values_HW)
    assert data[24] == 16  # bits, of IHDR
    assert np.array_equal(decode_picture(data)[0].numpy(), values_HW >> 8)


@pytest.mark.parametrize("class_count", [1, 2, 5, 16, 17, 256])
def test_palette_png_keeps_every_id_and_shows_its_colour(class_count: int) -> None:
    generator = np.random.default_rng(class_count)
    ids_HW = generator.integers(0, class_count, (31, 43)).astype(np.uint8)
    palette = [(int(red), int(green), int(blue)) for red, green, blue in generator.integers(0, 256, (class_count, 3))]
    data = encode_png_palette(ids_HW, palette)
    assert np.array_equal(reread(data), ids_HW)
    assert np.array_equal(decode_picture(data).permute(1, 2, 0).numpy(), np.array(palette, np.uint8)[ids_HW])


def test_jpeg_comes_back_close_and_closer_with_quality() -> None:
    pixels_CHW = as_pixels(photo())
    errors = [distance(decode_picture(encode_jpeg(pixels_CHW, q)), pixels_CHW).mean() for q in (20, 60, 95)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 3


def test_encoders_refuse_what_they_would_distort() -> None:
    grey_HW = np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError, match="uint8"):
        encode_png(grey_HW.astype(np.float32))
    with pytest.raises(ValueError, match="HW3"):
        encode_png(np.zeros((3, 4, 5), np.uint8))
    with pytest.raises(ValueError, match="uint16"):
        encode_png16(grey_HW)
    with pytest.raises(ValueError, match="class id 2 has no colour"):
        encode_png_palette(grey_HW + np.uint8(2), [(0, 0, 0), (1, 1, 1)])
    with pytest.raises(ValueError, match="uint8 HW"):
        encode_png_palette(grey_HW.astype(np.int64), [(0, 0, 0)])  # pyright: ignore
    with pytest.raises(ValueError, match="quality"):
        encode_jpeg(torch.zeros(3, 4, 4, dtype=torch.uint8), quality=0)
