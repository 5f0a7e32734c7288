"""Encoders keep every value, or refuse."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.codecs.encode import (
    encode_jpeg,
    encode_png,
    encode_png16,
    encode_png_palette,
    encode_png_tensor,
    encode_webp,
)
from pixelmill.workers.errors import RowError
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


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("turned", [False, True])
def test_png_of_a_tensor_keeps_every_value_however_it_lies_in_memory(channels: int, turned: bool) -> None:
    pixels_CHW = torch.randint(0, 256, (channels, 7, 700), dtype=torch.uint8)
    shown_CHW = pixels_CHW.transpose(1, 2) if turned else pixels_CHW
    read = torch.from_numpy(reread(encode_png_tensor(shown_CHW)).copy())
    assert torch.equal(read[None] if channels == 1 else read.permute(2, 0, 1), shown_CHW)


@pytest.mark.parametrize("class_count", [1, 2, 5, 16, 17, 256])
def test_palette_png_keeps_every_id_and_shows_its_colour(class_count: int) -> None:
    generator = np.random.default_rng(class_count)
    ids_HW = generator.integers(0, class_count, (31, 43)).astype(np.uint8)
    palette = [(int(red), int(green), int(blue)) for red, green, blue in generator.integers(0, 256, (class_count, 3))]
    data = encode_png_palette(ids_HW, palette)
    assert data[24] == 8  # bits, of IHDR: one byte a pixel, whatever the number of classes
    assert np.array_equal(reread(data), ids_HW)
    assert np.array_equal(decode_picture(data).permute(1, 2, 0).numpy(), np.array(palette, np.uint8)[ids_HW])


def test_jpeg_comes_back_close_and_closer_with_quality() -> None:
    pixels_CHW = as_pixels(photo())
    errors = [distance(decode_picture(encode_jpeg(pixels_CHW, q)), pixels_CHW).mean() for q in (20, 60, 95)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 3


def test_grey_stays_grey_in_jpeg() -> None:
    grey_1HW = torch.arange(64, dtype=torch.uint8).repeat(64, 1)[None]
    shown = Image.open(io.BytesIO(encode_jpeg(grey_1HW, 95)))
    assert shown.mode == "L"
    assert distance(torch.from_numpy(np.array(shown))[None], grey_1HW).max() <= 3


def test_webp_comes_back_close_and_closer_with_quality() -> None:
    pixels_CHW = as_pixels(photo())
    errors = [distance(decode_picture(encode_webp(pixels_CHW, q)), pixels_CHW).mean() for q in (20, 60, 95)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 3


@pytest.mark.parametrize("channels", [3, 4])
def test_lossless_webp_keeps_every_value_under_alpha_too(channels: int) -> None:
    pixels_CHW = torch.randint(0, 256, (channels, 30, 40), dtype=torch.uint8)
    if channels == 4:
        pixels_CHW[3, :10] = 0
    read = torch.from_numpy(reread(encode_webp(pixels_CHW, lossless=True)).copy()).permute(2, 0, 1)
    assert torch.equal(read, pixels_CHW)


@pytest.mark.parametrize("height", [1, 3])
@pytest.mark.parametrize("width", [1, 16_383])
def test_the_smallest_and_the_longest_pictures_are_encoded(height: int, width: int) -> None:
    pixels_CHW = torch.full((3, height, width), 90, dtype=torch.uint8)
    for data in (encode_jpeg(pixels_CHW), encode_webp(pixels_CHW), encode_png_tensor(pixels_CHW)):
        assert reread(data).shape == (height, width, 3)


@pytest.mark.parametrize(
    ("encoder", "width", "words"),
    [
        (encode_jpeg, 65_536, "has 65,536x1 px, and a side of a JPEG at most 65,535; format: png can hold it"),
        (encode_webp, 16_384, "has 16,384x1 px, and a side of a WebP at most 16,383; format: jpeg or png can hold it"),
        (encode_webp, 70_000, "format: png can hold it"),
    ],
)
def test_a_picture_beyond_a_format_is_an_error_of_the_row_that_names_one_that_can_hold_it(
    encoder: Callable[[torch.Tensor], bytes], width: int, words: str
) -> None:
    pixels_CHW = torch.zeros((3, 1, width), dtype=torch.uint8)
    with pytest.raises(RowError, match=words) as raised:
        encoder(pixels_CHW)
    assert (raised.value.stage, raised.value.error_type) == ("encode", "TooLarge")
    assert reread(encode_png_tensor(pixels_CHW)).shape == (1, width, 3)


def test_encoders_refuse_values_that_they_would_distort() -> None:
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
    with pytest.raises(ValueError, match="1HW or 3HW"):
        encode_jpeg(torch.zeros(4, 4, 4, dtype=torch.uint8))
    with pytest.raises(ValueError, match="uint8 3HW or 4HW"):
        encode_webp(torch.zeros(3, 4, 4))
    with pytest.raises(ValueError, match="quality"):
        encode_webp(torch.zeros(3, 4, 4, dtype=torch.uint8), quality=101)
    with pytest.raises(ValueError, match="without pixels"):
        encode_png(np.zeros((0, 4), np.uint8))
    with pytest.raises(ValueError, match="without pixels"):
        encode_png_palette(np.zeros((0, 4), np.uint8), [(0, 0, 0)])
