"""Read pictures that a stage stored: as bytes, as pixels, or converted to another format.

Legend: H height, W width, C channels.
"""

from __future__ import annotations

import io
import zipfile
from typing import Literal

import numpy as np
import torch
from PIL import Image

from pixelmill.workers.codecs import encode
from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.codecs.decode_errors import decode_error
from pixelmill.workers.codecs.png import read_png
from pixelmill.workers.codecs.signatures import find_format

StoredFormat = Literal["stored", "png", "jpeg", "png16", "npz"]
SUFFIXES = {
    "PNG": ".png",
    "JPEG": ".jpg",
    "WebP": ".webp",
    "TIFF": ".tif",
    "GIF": ".gif",
    "BMP": ".bmp",
    "AVIF": ".avif",
}
MOST_PIXELS = 2**31 - 1
"""No limit of pixels: Pixelmill wrote these pictures itself."""
JPEG_QUALITY = 95
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The fixed timestamp of ZIP entries, so that equal pictures make equal files."""


def converted(data: bytes, wanted: StoredFormat, scale: float | None = None) -> tuple[bytes, str]:
    """A stored picture as a file in the requested format, and its suffix.

    stored   the bytes unchanged
    png      class ids stay ids with their palette, 16 bits stay 16 bits
    jpeg     displayed colours, for class ids those of their palette; RowError for 16 bits, which JPEG can't hold
    png16    16-bit grey; RowError for any other picture
    npz      `values`: HW or HWC as stored; float32 values x scale if there is a scale
    """
    if wanted == "stored":
        return data, SUFFIXES.get(find_format(data), ".bin")
    if wanted == "npz":
        return _as_npz(values_of(data), scale), ".npz"
    if wanted == "jpeg":
        return _as_jpeg(data), ".jpg"
    if wanted == "png16" and not _has_16_bits(data):
        raise _unfit("png16", "it has 8 bits a value; give --format png")
    return data if find_format(data) == "PNG" else encode.encode_png_tensor(
        decode_picture(data, max_pixels=MOST_PIXELS)
    ), ".png"


def values_of(data: bytes) -> np.ndarray:
    """The stored values: class ids and grey HW (uint8 or uint16), colours HW3, with alpha HW4."""
    if find_format(data) == "PNG":
        return np.asarray(read_png(data, MOST_PIXELS)[0])
    return decode_picture(data, max_pixels=MOST_PIXELS).permute(1, 2, 0).numpy()


def shown(data: bytes) -> Image.Image:
    """The picture as a PIL image: a mask stays a picture of ids (mode P), 16 bits stay 16 bits (I;16)."""
    if find_format(data) == "PNG":
        return read_png(data, MOST_PIXELS)[0]
    return Image.fromarray(values_of(data))


def _has_16_bits(data: bytes) -> bool:
    return find_format(data) == "PNG" and data[24:25] == b"\x10"


def _as_jpeg(data: bytes) -> bytes:
    if find_format(data) == "JPEG":
        return data
    if _has_16_bits(data):
        raise _unfit("jpeg", "it has 16 bits a value, of which a JPEG would keep 8; give --format png16 or npz")
    return encode.encode_jpeg(torch.as_tensor(decode_picture(data, max_pixels=MOST_PIXELS)), JPEG_QUALITY)


def _as_npz(values: np.ndarray, scale: float | None) -> bytes:
    """The format of np.savez_compressed, at the fastest level and without a timestamp."""
    scaled = values if scale is None else values.astype(np.float32) * np.float32(scale)
    array, file = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array(array, np.ascontiguousarray(scaled), allow_pickle=False)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        entry = zipfile.ZipInfo("values.npy", _EPOCH)
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, array.getvalue(), compresslevel=1)
    return file.getvalue()


def _unfit(wanted: str, why: str) -> Exception:
    return decode_error("UnsupportedFormat", f"this picture can't be written as {wanted}: {why}")
