"""Encode the pictures that a stage makes for a column: lossless PNG, or JPEG or WebP of high quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

from pixelmill.workers.stages import Deferred
from pixelmill.workers.stages.picture_column import EncodedPicture, picture_value

if TYPE_CHECKING:
    from torch import Tensor

PictureFormat = Literal["png", "jpeg", "webp"]

QUALITY = 95

BYTES_PER_PIXEL: Mapping[PictureFormat, float] = {"png": 2.0, "jpeg": 0.6, "webp": 0.5}
"""Approximate bytes per pixel of photographs, from which files are sized."""


def encoded_pictures(pictures_3HW: Sequence[Tensor], file_format: PictureFormat) -> Deferred:
    """A deferred column of uint8 RGB pictures; a job raises RowError for a picture that the format can't hold."""
    jobs = [partial(encode_picture, pixels_3HW, file_format) for pixels_3HW in pictures_3HW]
    return Deferred(jobs, pictures_3HW)


def encode_picture(pixels_3HW: Tensor, file_format: PictureFormat) -> EncodedPicture:
    from pixelmill.workers.codecs import encode

    if file_format == "png":
        return picture_value(encode.encode_png_tensor(pixels_3HW))
    if file_format == "jpeg":
        return picture_value(encode.encode_jpeg(pixels_3HW, QUALITY))
    return picture_value(encode.encode_webp(pixels_3HW, QUALITY))
