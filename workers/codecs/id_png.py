"""Read the class ids that a PNG stores: its grey levels, or the indices of its palette, never their colours.

Legend: H height, W width.
"""

from __future__ import annotations

import io

import numpy as np
from PIL.PngImagePlugin import PngImageFile

from pixelmill.workers.codecs import headers
from pixelmill.workers.codecs.decode import MAX_PIXELS, decode_picture
from pixelmill.workers.codecs.decode_errors import check_size, corrupt, decode_error
from pixelmill.workers.codecs.png import read_png
from pixelmill.workers.codecs.signatures import find_format
from pixelmill.workers.errors import RowError

_GREY, _PALETTE, _COLOURS = 0, 3, (2, 6)


def decode_ids(data: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[np.ndarray, int]:
    """The stored ids, uint8 or uint16 HW, and the EXIF orientation (1 to 8) in which a viewer shows them. One bit gives 0 and 1.

    Raises RowError with stage "decode", as `decode_picture` does, and if the file holds no ids.
    """
    check_ids(data, max_pixels=max_pixels)
    try:
        picture, orientation = read_png(data, max_pixels)
    except Exception as error:
        decode_picture(data, max_pixels=max_pixels)  # says in a RowError what is wrong with the file
        raise corrupt(str(error)) from error
    if picture.mode == "LA":  # 16 bits with a transparent grey, which was taken out of the levels
        picture = PngImageFile(io.BytesIO(data))
    ids_HW = np.asarray(picture)
    return ids_HW.astype(np.uint8) if ids_HW.dtype == np.bool_ else ids_HW, orientation


def check_ids(data: bytes, *, max_pixels: int) -> None:
    """RowError, from the header alone, if a file can't hold class ids or is too large."""
    if find_format(data) != "PNG":
        raise _no_ids("it is no PNG, and other formats may change ids")
    header = _header(data)
    if header.colour not in (_GREY, _PALETTE) or (header.colour == _GREY and header.bits in (2, 4)):
        kind = "colours" if header.colour in _COLOURS else f"{header.bits}-bit grey levels"
        raise _no_ids(f"it holds {kind}, not class ids")
    check_size(header.width, header.height, max_pixels)


def holds_colours(data: bytes) -> bool:
    """Whether the pixels of a file are colours: true for every format except a PNG of grey levels or palette indices."""
    return find_format(data) != "PNG" or _header(data).colour in _COLOURS


def _header(data: bytes) -> headers.PngHeader:
    for kind, _, payload, end in headers.png_chunks(data):
        if kind == b"IHDR":
            return headers.png_header(data[payload : end - 4])
    raise corrupt("it has no IHDR chunk")


def _no_ids(fact: str) -> RowError:
    return decode_error("UnsupportedFormat", f"{fact}: save the ids as a grey or palette PNG of 8 bits")
