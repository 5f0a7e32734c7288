"""Decode a picture of a training sample; an unreadable picture ends the training, so it raises DataError."""

from __future__ import annotations

from torch import Tensor

from pixelmill.workers.codecs.decode import decode_turned
from pixelmill.workers.errors import DataError, RowError


def sample_pixels(data: bytes, role: str = "") -> Tensor:
    """uint8 pixels_CHW; DataError, prefixed with the role if one is passed, if the bytes are not a picture."""
    return turned_pixels(data, role)[0]


def turned_pixels(data: bytes, role: str = "") -> tuple[Tensor, int]:
    """The same, with the EXIF orientation (1 to 8) by which they were turned."""
    try:
        return decode_turned(data)
    except RowError as error:
        raise DataError(f"{role}: {error}" if role else str(error)) from error
