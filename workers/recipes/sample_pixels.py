"""Decode a picture of a training sample; an unreadable picture ends the training, so it raises DataError."""

from __future__ import annotations

from torch import Tensor

from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.errors import DataError, RowError


def sample_pixels(data: bytes, role: str = "") -> Tensor:
    """uint8 pixels_CHW; DataError, prefixed with the role if one is passed, if the bytes are not a picture."""
    try:
        return decode_picture(data)
    except RowError as error:
        raise DataError(f"{role}: {error}" if role else str(error)) from error
