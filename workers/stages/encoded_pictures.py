"""Pictures that a stage makes as the bytes of a column: PNG without loss, or JPEG or WebP with little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

from pixelmill.workers.errors import RowError
from pixelmill.workers.stages import Deferred
from pixelmill.workers.stages.picture_column import EncodedPicture, picture_value

if TYPE_CHECKING:
    from torch import Tensor

PictureFormat = Literal["png", "jpeg", "webp"]

JPEG_QUALITY = WEBP_QUALITY = 95
MOST_SIDE_PX: Mapping[PictureFormat, int] = {"jpeg": 65_500, "webp": 16_383}
"""What the formats can hold, along a side; PNG holds more than there is memory for."""

BYTES_PER_PIXEL: Mapping[PictureFormat, float] = {"png": 2.0, "jpeg": 0.6, "webp": 0.5}
"""About what photographs take, to size files."""


def encoded_pictures(pictures_3HW: Sequence[Tensor], file_format: PictureFormat, stage: str) -> Deferred:
    """uint8 red, green, blue as a column that is encoded where there is time. RowError where a format can't hold one."""
    jobs = [partial(encode_picture, pixels_3HW, file_format, stage) for pixels_3HW in pictures_3HW]
    return Deferred(jobs, pictures_3HW)


def encode_picture(pixels_3HW: Tensor, file_format: PictureFormat, stage: str) -> EncodedPicture:
    from pixelmill.workers.codecs import encode

    height, width = pixels_3HW.shape[1:]
    most_px = MOST_SIDE_PX.get(file_format)
    if most_px is not None and max(height, width) > most_px:
        raise RowError(
            stage,
            "TooLarge",
            f"{width} x {height} pixels do not go into a {file_format.upper()}, which has {most_px:,} along a side: "
            "set format to png",
        )
    if file_format == "png":
        return picture_value(encode.encode_png_tensor(pixels_3HW))
    if file_format == "jpeg":
        return picture_value(encode.encode_jpeg(pixels_3HW, JPEG_QUALITY))
    return picture_value(encode.encode_webp(pixels_3HW, WEBP_QUALITY))
