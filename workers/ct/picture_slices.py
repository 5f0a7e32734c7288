"""Slices of CT in picture files: Hounsfield units in TIFF, and 16-bit values with a stated intercept in TIFF or PNG.

A picture states neither its place nor its size in mm, so that a folder of them is usable in 2-D alone. One of 8 bits was
windowed, which can't be turned back.

Legend: H rows, W columns.
"""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from pixelmill.workers.codecs import headers, tiff_layout
from pixelmill.workers.codecs.pillow import read_without_warnings
from pixelmill.workers.ct.facts import Identity, Layout, ObjectFacts
from pixelmill.workers.ct.hounsfield import HuSlice, to_hu
from pixelmill.workers.errors import RowError

PNG_HEAD: Final = b"\x89PNG\r\n\x1a\n"
TIFF_HEADS: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _SAMPLES, _SAMPLE_FORMAT = 256, 257, 258, 262, 277, 339
_TAGS: Final[dict[int, int]] = dict.fromkeys((_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _SAMPLES, _SAMPLE_FORMAT), 64)
_GREY: Final = (tiff_layout.WHITE_IS_ZERO, tiff_layout.BLACK_IS_ZERO)
_UNSIGNED, _FLOAT = 1, 3
_NOBODY: Final = Identity("", "", "", "", "", "", "", "")


def is_picture(head: bytes) -> bool:
    return head.startswith((PNG_HEAD, *TIFF_HEADS))


def picture_facts(head: bytes, *, is_whole: bool) -> ObjectFacts | None:
    """What the header of a picture states; None where `head` is cut off before its end. RowError where it is broken."""
    try:
        layout, is_unsigned = _png(head) if head.startswith(PNG_HEAD) else _tiff(head)
    except RowError:
        if not is_whole:
            return None
        raise
    return ObjectFacts(
        kind="picture",
        identity=_NOBODY,
        transfer_syntax="",
        layout=layout,
        geometry=None,
        slope=1.0,
        intercept=None if is_unsigned else 0.0,
        padding=None,
        thickness_mm=None,
        is_burned_in=False,
        phase_percent=None,
        acquisition=None,
    )


def picture_slice(data: bytes, intercept_hu: float, *, max_pixels: int) -> HuSlice:
    """The Hounsfield units of a picture of 16 bits or more. RowError where it can't be read, or holds what is no number."""
    plugin = PngImageFile if data.startswith(PNG_HEAD) else TiffImageFile
    try:
        stored_HW = np.asarray(_read(plugin, data, max_pixels))
    except RowError:
        raise
    except Exception as error:  # Pillow raises many kinds, whose texts may quote the file
        raise RowError(
            "decode", "MalformedPixels", f"its pixels can't be decoded ({type(error).__name__}); copy it again"
        ) from None
    if stored_HW.ndim != 2 or stored_HW.dtype.itemsize < 2:
        raise RowError("decode", "NotASlice", "holds colours or 8 bits, and no slice does")
    if not np.isfinite(stored_HW).all():
        raise RowError("decode", "NotFinite", "holds values that are no numbers (NaN or infinite); write them as air")
    return to_hu(stored_HW, 1.0, intercept_hu, None, is_inverted=False)


def _read(plugin: type[PngImageFile | TiffImageFile], data: bytes, max_pixels: int) -> Image.Image:
    if plugin is TiffImageFile:
        return read_without_warnings(TiffImageFile, data, max_pixels)
    picture = PngImageFile(io.BytesIO(data))
    picture.load()
    return picture


def _png(head: bytes) -> tuple[Layout, bool]:
    """PNG holds no negative values."""
    if head[12:16] != b"IHDR":
        raise RowError("decode", "Truncated", "its header is not whole; copy it again")
    stated = headers.png_header(head[16:29])
    samples = {2: 3, 4: 2, 6: 4}.get(stated.colour, 1)
    return _layout(stated.height, stated.width, samples, stated.bits, is_grey=stated.colour == 0), True


def _tiff(head: bytes) -> tuple[Layout, bool]:
    tags, _ = tiff_layout.read_tags(head, _TAGS)
    width, height, samples, bits, kind, photometric = (
        tags.get(tag, (default,))[0]
        for tag, default in (
            (_WIDTH, 0),
            (_HEIGHT, 0),
            (_SAMPLES, 1),
            (_BITS, 1),
            (_SAMPLE_FORMAT, _UNSIGNED),
            (_PHOTOMETRIC, tiff_layout.BLACK_IS_ZERO),
        )
    )
    if width < 1 or height < 1:
        raise RowError("decode", "MissingTag", "states no width or height; write it again")
    return _layout(height, width, samples, bits, is_grey=photometric in _GREY), kind == _UNSIGNED


def _layout(rows: int, columns: int, samples: int, bits: int, *, is_grey: bool) -> Layout:
    allocated = next((each for each in (8, 16, 32, 64) if bits <= each), bits)
    return Layout(rows, columns, 1, samples, allocated, bits, is_signed=True, is_grey=is_grey, is_inverted=False)
