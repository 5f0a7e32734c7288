"""The values of one slice of CT in a file or a row: Hounsfield units, or the grey values of a picture that was windowed.

Legend: D slices, H rows, W columns.
"""

from __future__ import annotations

import numpy as np
from PIL.TiffImagePlugin import TiffImageFile

from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.codecs.pillow import read_without_warnings
from pixelmill.workers.ct.hu_cells import is_packed, unpacked
from pixelmill.workers.errors import DataError, RowError

TIFF_HEADS = (b"II*\0", b"MM\0*")
WIDE_MODES = frozenset({"I", "I;16", "I;16S", "I;16L", "I;16B", "I;16BS", "F"})
MOST_PIXELS = 1 << 26
LEAST_HU, MOST_HU = -(2**15), 2**15 - 1


def slice_values(data: bytes) -> np.ndarray:
    """int16 Hounsfield units, HW of a slice or DHW of a block of several; uint8 HW of a picture of 8 bits. DataError for
    bytes of another kind."""
    try:
        if is_packed(data):
            values_DHW = unpacked(data)
            return values_DHW[0] if len(values_DHW) == 1 else values_DHW
        if data.startswith(TIFF_HEADS) and (values_HW := _wide_tiff(data)) is not None:
            return values_HW
        return np.ascontiguousarray(decode_picture(data)[0].numpy())
    except RowError as error:
        raise DataError(str(error)) from error


def mask_values(data: bytes) -> np.ndarray:
    """A mask as uint8 HW of 0 and 1; DataError where it holds anything but 0 and 1, or 0 and 255."""
    try:
        pixels_HW = decode_picture(data)[0].numpy()
    except RowError as error:
        raise DataError(f"label: {error}") from error
    others = set(np.unique(pixels_HW).tolist()) - {0, 1, 255}
    if others:
        raise DataError(f"label: its mask holds {min(others)}; a mask is 0 outside and 255 inside")
    return (pixels_HW > 0).astype(np.uint8)


def _wide_tiff(data: bytes) -> np.ndarray | None:
    """The values of a TIFF of 16 bits or more; None for one of 8 bits. DataError where they can't be Hounsfield units."""
    try:
        opened = read_without_warnings(TiffImageFile, data, MOST_PIXELS)
        if opened.mode not in WIDE_MODES:
            return None
        values_HW = np.asarray(opened)
    except (OSError, ValueError, SyntaxError, RowError) as error:
        raise DataError(f"is no TIFF that can be read ({error}); write int16 Hounsfield units, uncompressed") from error
    if not np.isfinite(values_HW).all() or values_HW.min() < LEAST_HU or values_HW.max() > MOST_HU:
        raise DataError("holds values that are no Hounsfield units; write int16")
    return values_HW.round().astype(np.int16) if values_HW.dtype.kind == "f" else values_HW.astype(np.int16)
