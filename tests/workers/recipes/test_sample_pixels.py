"""A picture of a training sample is decoded, or its error ends the training."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pixelmill.workers.codecs.encode import encode_png
from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes.sample_pixels import sample_pixels, turned_pixels
from tests.corpus import encode, photo


def test_an_encoded_picture_is_decoded_and_anything_else_is_a_data_error() -> None:
    pixels_HWC = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    assert np.array_equal(sample_pixels(encode_png(pixels_HWC)).permute(1, 2, 0).numpy(), pixels_HWC)
    with pytest.raises(DataError, match=r"^looks like an HTML page"):
        sample_pixels(b"<html>")
    with pytest.raises(DataError, match=r"^left: looks like an HTML page"):
        sample_pixels(b"<html>", "left")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_pixels_are_turned_by_exif_which_is_stated_beside_them(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(photo(width=64, height=48), kind, exif=exif)
    pixels_CHW, orientation = turned_pixels(data)
    assert (tuple(pixels_CHW.shape), orientation) == ((3, 64, 48), 6)
    assert np.array_equal(sample_pixels(data), pixels_CHW)
    assert turned_pixels(encode(photo(), kind))[1] == 1
