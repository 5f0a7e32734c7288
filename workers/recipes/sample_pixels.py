"""Decode a picture of a training sample: a picture that can't be read ends a training, so its error is one of the data."""

from __future__ import annotations

from torch import Tensor

from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.errors import DataError, RowError


def sample_pixels(data: bytes, role: str = "") -> Tensor:
    """uint8 pixels_CHW; DataError, which begins with the role where one is given, when the bytes are no picture."""
    try:
        return decode_picture(data)
    except RowError as error:
        raise DataError(f"{role}: {error}" if role else str(error)) from error
