"""Small pictures for people, as JPEG, of pictures of any size and kind: input files, masks, maps of depth.

A JPEG is decoded at 1/2, 1/4 or 1/8 of its size, so that even one of 100 megapixels takes little memory; another format above
MOST_PIXELS is refused.

Legend: H height, W width, C channels.
"""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from pixelmill.workers.codecs import headers
from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.codecs.decode_errors import check_size, decode_error
from pixelmill.workers.codecs.exif import exif_orientation
from pixelmill.workers.codecs.png import read_png
from pixelmill.workers.codecs.signatures import find_format
from pixelmill.workers.errors import RowError

MOST_PIXELS = 40_000_000
MOST_JPEG_PIXELS = 2**31
QUALITY = 78
SHOWN_SHARE = (2, 98)
"""Percentiles of 16-bit values that are the darkest and the lightest colour."""
DEPTH_COLOURS = np.array(
    [list(bytes.fromhex(each)) for each in ("000004", "51127c", "b63679", "fb8861", "fcfdbf")], np.float64
)
"""Five colours of matplotlib's magma, evenly spaced."""
_TURNS: dict[int, tuple[Image.Transpose, ...]] = {
    2: (Image.Transpose.FLIP_LEFT_RIGHT,),
    3: (Image.Transpose.ROTATE_180,),
    4: (Image.Transpose.FLIP_TOP_BOTTOM,),
    5: (Image.Transpose.TRANSPOSE,),
    6: (Image.Transpose.ROTATE_270,),
    7: (Image.Transpose.TRANSVERSE,),
    8: (Image.Transpose.ROTATE_90,),
}


def thumbnail(data: bytes, longer_px: int) -> Image.Image:
    """The picture as RGB with a longer side of at most `longer_px`: class ids in the colours of their palette, 16-bit values in
    false colours from their least to their greatest. Raises RowError where it can't be decoded or is too large to show.
    """
    try:
        found = find_format(data)
        picture = _draft(data, longer_px) if found == "JPEG" else _whole(data, is_png=found == "PNG")
        is_of_ids = picture.mode == "P"
        picture.thumbnail((longer_px, longer_px), Image.Resampling.NEAREST if is_of_ids else Image.Resampling.BOX)
        return picture.convert("RGB")
    except RowError:
        raise
    except Exception as error:  # a decoder may raise anything for broken bytes
        raise decode_error("Corrupt", f"{type(error).__name__}: {error}") from error


def as_jpeg(picture: Image.Image, quality: int = QUALITY) -> bytes:
    """The picture as JPEG, without metadata."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality, optimize=True)
    return file.getvalue()


def _draft(data: bytes, longer_px: int) -> Image.Image:
    orientation = 1
    for marker, _, payload, end in headers.jpeg_segments(data):
        if marker in headers.JPEG_FRAMES:
            frame = headers.jpeg_frame(marker, data[payload:end])
            check_size(frame.width, frame.height, MOST_JPEG_PIXELS)
        elif marker == 0xE1 and data.startswith(b"Exif\0\0", payload):
            orientation = exif_orientation(data[payload + 6 : end])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        picture: Image.Image = JpegImageFile(io.BytesIO(data))
        picture.draft("RGB", (2 * longer_px, 2 * longer_px))
        picture = picture.convert("RGB")
    for turn in _TURNS.get(orientation, ()):
        picture = picture.transpose(turn)
    return picture


def _whole(data: bytes, *, is_png: bool) -> Image.Image:
    if is_png:
        stored, _ = read_png(data, MOST_PIXELS)
        if stored.mode == "P" and "transparency" not in stored.info:
            return stored
        if stored.mode.startswith("I;16"):
            return Image.fromarray(in_false_colours(np.asarray(stored)))
    pixels_CHW = decode_picture(data, max_pixels=MOST_PIXELS)
    return Image.fromarray(pixels_CHW.permute(1, 2, 0).contiguous().numpy())


def in_false_colours(values_HW: np.ndarray) -> np.ndarray:
    """uint8 HW3 of any values, from black over purple to light yellow, between the percentiles of SHOWN_SHARE."""
    low, high = np.percentile(values_HW, SHOWN_SHARE)
    at_HW = np.clip((values_HW - low) / max(high - low, 1e-9), 0, 1) * (len(DEPTH_COLOURS) - 1)
    places = np.arange(len(DEPTH_COLOURS))
    shown_HWC = np.zeros((*values_HW.shape, 3), np.uint8)
    for channel in range(3):
        levels_HW = np.asarray(np.interp(at_HW, places, DEPTH_COLOURS[:, channel]), np.float64)
        shown_HWC[..., channel] = (levels_HW + 0.5).astype(np.uint8)
    return shown_HWC
