"""A picture of a training sample is decoded, or its error ends the training."""

from __future__ import annotations

import numpy as np
import pytest

from pixelmill.workers.codecs.encode import encode_png
from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes.sample_pixels import sample_pixels


def test_an_encoded_picture_is_decoded_and_anything_else_is_a_data_error() -> None:
    pixels_HWC = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    assert np.array_equal(sample_pixels(encode_png(pixels_HWC)).permute(1, 2, 0).numpy(), pixels_HWC)
    with pytest.raises(DataError, match=r"^looks like an HTML page"):
        sample_pixels(b"<html>")
    with pytest.raises(DataError, match=r"^left: looks like an HTML page"):
        sample_pixels(b"<html>", "left")
