"""Decode the bytes of one picture to RGB pixels, or raise a RowError with the reason.

Legend: C = 3 channels (red, green, blue), H = height, W = width; pixels are uint8, 0 to 255.

Properties of a decoded picture:

- the first frame or page, three channels, EXIF orientation applied, so that H and W are those that a viewer shows;
- alpha is composited on white; a transparent colour of a palette or of PNG is alpha too; an all-zero alpha of a BMP is ignored;
- 16 bits become 8 by keeping the high byte, as libpng, OpenCV and Pillow do; that is within 1 of value / 257. 12 bits and
  other depths are scaled likewise, by their own depth;
- CMYK and YCCK JPEG hold inverted inks, with an Adobe marker or without, as in browsers; R = (255 - C)(255 - K) / 255;
- colour profiles are not applied.

JPEG is read by libjpeg-turbo's own interface (`turbo_jpeg.py`), which takes 0.7 of Pillow's time (`benchmarks/decoding.py`).
Pillow reads every other format but HEIC and a few layouts of TIFF (`tiff.py`), and each JPEG that is not flawless. The format
is never inferred from the file's name. Decoders get no metadata: it is removed from JPEG and PNG first, so that a broken EXIF
block can't fail a picture.

A file without its end marker is Truncated even if it has all of its pixels: it differs from the file that was written, and a
missing marker can't be distinguished from a missing last scan. Bytes after the end marker are ignored.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import TypeVar

import torch
from PIL import Image

from pixelmill.workers.codecs.decode_errors import corrupt, decode_error, truncated, unsupported
from pixelmill.workers.codecs.heif import read_avif, read_heic
from pixelmill.workers.codecs.jpeg import read_jpeg
from pixelmill.workers.codecs.other_formats import read_bmp, read_gif, read_jpeg2000, read_webp
from pixelmill.workers.codecs.pixels import to_pixels, to_rgb_or_grey
from pixelmill.workers.codecs.png import read_png
from pixelmill.workers.codecs.signatures import PictureFormat, find_format
from pixelmill.workers.codecs.tiff import read_tiff
from pixelmill.workers.codecs.tiff_layout import read_layout
from pixelmill.workers.errors import RowError
from pixelmill.workers.geometry.orientation import turn_upright
from pixelmill.workers.pictures import Reduced

MAX_PIXELS = 2**27  # 134 megapixels, above the largest common camera; 400 MB as RGB

Result = TypeVar("Result")

FormatReader = Callable[[bytes, int], tuple[Image.Image, int]]
"""From data and max_pixels to the picture and the EXIF orientation, 1 to 8, by which it is still to be turned."""

READERS: dict[PictureFormat, FormatReader] = {  # of all formats but JPEG
    "PNG": read_png,
    "GIF": read_gif,
    "TIFF": read_tiff,
    "WebP": read_webp,
    "BMP": read_bmp,
    "AVIF": read_avif,
    "HEIC": read_heic,
    "JPEG 2000": read_jpeg2000,
}


def decode_picture(data: bytes, *, max_pixels: int = MAX_PIXELS) -> torch.Tensor:
    """Decode JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, JPEG 2000 or HEIC to uint8 pixels_CHW; its shape has width and height.

    HEIC needs an extra (pi-heif).

    Their memory order is HWC, as decoders return it (a contiguous HWC tensor, permuted), which is the fastest for resizing,
    cropping and batches of a network in channels_last.

    `max_pixels` bounds width x height as the header states them. Raises RowError with stage "decode" and one of
    DECODE_ERROR_TYPES, and nothing else. Never warns; thread-safe.
    """
    return _explained(lambda: _whole(data, find_format(data), max_pixels))


def decode_turned(data: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[torch.Tensor, int]:
    """The same, with the EXIF orientation (1 to 8) by which the pixels were turned: that of the pixels as they are stored."""
    return _explained(lambda: _with_orientation(data, find_format(data), max_pixels))


def decode_reduced(data: bytes, least_px: int, *, max_pixels: int = MAX_PIXELS) -> tuple[torch.Tensor, Reduced | None]:
    """The same, smaller where the format can be decoded so: JPEG, at 1/2, 1/4 or 1/8.

    The largest of these fractions is taken that leaves the shorter side `least_px` pixels at least. Beside the pixels is what
    they are a fraction of, as it is shown; None where the picture was decoded whole. The errors and checks are the same.
    """
    return _explained(lambda: _reduced(data, find_format(data), least_px, max_pixels))


def _whole(data: bytes, file_format: PictureFormat, max_pixels: int) -> torch.Tensor:
    return _turned(data, file_format, max_pixels)[0]


def _with_orientation(data: bytes, file_format: PictureFormat, max_pixels: int) -> tuple[torch.Tensor, int]:
    pixels_CHW, orientation = _turned(data, file_format, max_pixels)
    return pixels_CHW, read_layout(data).orientation if file_format == "TIFF" else orientation


def _turned(data: bytes, file_format: PictureFormat, max_pixels: int) -> tuple[torch.Tensor, int]:
    """Upright pixels, and the orientation by which they were turned here: Pillow turns most TIFFs itself."""
    if file_format == "JPEG":
        pixels_CHW, orientation, _ = read_jpeg(data, max_pixels)
        return turn_upright(pixels_CHW, orientation), orientation
    picture, orientation = READERS[file_format](data, max_pixels)
    return turn_upright(to_pixels(to_rgb_or_grey(picture)), orientation), orientation


def _reduced(
    data: bytes, file_format: PictureFormat, least_px: int, max_pixels: int
) -> tuple[torch.Tensor, Reduced | None]:
    if file_format != "JPEG":
        return _whole(data, file_format, max_pixels), None
    pixels_CHW, orientation, reduced = read_jpeg(data, max_pixels, least_px)
    pixels_CHW = turn_upright(pixels_CHW, orientation)
    if reduced.by == 1:
        return pixels_CHW, None
    is_on_its_side = orientation >= 5
    return pixels_CHW, Reduced(reduced.by, reduced.width, reduced.height) if is_on_its_side else reduced


def _explained(decode: Callable[[], Result]) -> Result:
    """What a decoder makes; its errors are those of a row."""
    try:
        return decode()
    except RowError:
        raise
    except MemoryError as error:
        fact = "no memory is left for its pixels: lower max_pixels or use fewer actors"
        raise decode_error("TooManyPixels", fact) from error
    except (
        Exception
    ) as error:  # a decoder may raise anything for broken bytes, and every error is the error of this row
        raise _explain(error) from error


def _explain(error: Exception) -> RowError:
    """Map a decoder's exception to the closed set of error types."""
    fact = f"{type(error).__name__}: {error}".strip(": ")
    if isinstance(error, Image.DecompressionBombError):
        return decode_error("TooManyPixels", f"the decoder refused its size ({error})")
    # Pillow's parsers wrap what reading past the end raises into SyntaxError
    if "truncat" in fact.lower() or isinstance(error.__cause__, IndexError | EOFError | struct.error):
        return truncated(fact)
    if re.search("unsupported|not supported|unknown (pixel|data)|not available|cannot handle", fact, re.IGNORECASE):
        return unsupported(f"this variant of the format ({fact})")
    return corrupt(fact)
