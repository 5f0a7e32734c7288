"""Turn pixels into the bytes of a PNG or JPEG; every encoder refuses what it would distort.

Legend: C channels, H = height, W = width; pixels are uint8, 0 to 255.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image


def encode_png(pixels: np.ndarray) -> bytes:
    """PNG of uint8 pixels: grey_HW, rgb_HWC (C = 3) or rgba_HWC (C = 4)."""
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))):
        raise ValueError(f"encode_png takes uint8 HW, HW3 or HW4, not {pixels.dtype} {pixels.shape}")
    return _save(Image.fromarray(pixels), "PNG")


def encode_jpeg(pixels_CHW: torch.Tensor, quality: int = 90) -> bytes:
    """Baseline JPEG, chroma halved (4:2:0), of uint8 RGB pixels; `quality` is 1 to 100."""
    if pixels_CHW.dtype != torch.uint8 or pixels_CHW.ndim != 3 or pixels_CHW.shape[0] != 3 or not 1 <= quality <= 100:
        given = f"{pixels_CHW.dtype} {tuple(pixels_CHW.shape)}, quality {quality}"
        raise ValueError(f"encode_jpeg takes uint8 3HW and quality 1 to 100, not {given}")
    return _save(Image.fromarray(pixels_CHW.permute(1, 2, 0).contiguous().numpy()), "JPEG", quality=quality)


def encode_webp(pixels_CHW: torch.Tensor, quality: int = 95) -> bytes:
    """Lossy WebP of uint8 RGB pixels; `quality` is 1 to 100."""
    if pixels_CHW.dtype != torch.uint8 or pixels_CHW.ndim != 3 or pixels_CHW.shape[0] != 3 or not 1 <= quality <= 100:
        given = f"{pixels_CHW.dtype} {tuple(pixels_CHW.shape)}, quality {quality}"
        raise ValueError(f"encode_webp takes uint8 3HW and quality 1 to 100, not {given}")
    return _save(Image.fromarray(pixels_CHW.permute(1, 2, 0).contiguous().numpy()), "WEBP", quality=quality)


def encode_png16(values_HW: np.ndarray) -> bytes:
    """16-bit grey PNG of uint16 values; every reader of 16-bit PNG gets the same numbers back."""
    if values_HW.dtype != np.uint16 or values_HW.ndim != 2:
        raise ValueError(f"encode_png16 takes uint16 HW, not {values_HW.dtype} {values_HW.shape}")
    return _save(Image.fromarray(values_HW), "PNG")


def encode_png_palette(ids_HW: np.ndarray, palette: Sequence[tuple[int, int, int]]) -> bytes:
    """Palette PNG of uint8 class ids: the stored values are the ids, viewers show palette[id] (red, green, blue)."""
    if ids_HW.dtype != np.uint8 or ids_HW.ndim != 2 or not 1 <= len(palette) <= 256:
        raise ValueError(f"encode_png_palette takes uint8 HW and 1 to 256 colours, not {ids_HW.dtype} {ids_HW.shape}")
    if int(ids_HW.max()) >= len(palette):
        raise ValueError(f"class id {int(ids_HW.max())} has no colour: the palette has {len(palette)}")
    picture = Image.frombytes("P", (ids_HW.shape[1], ids_HW.shape[0]), np.ascontiguousarray(ids_HW).tobytes())
    picture.putpalette([level for colour in palette for level in colour])
    return _save(picture, "PNG")


def encode_png_tensor(picture_CHW: torch.Tensor) -> bytes:
    """PNG of a picture as networks show it: uint8, one channel or three."""
    pixels = picture_CHW[0] if picture_CHW.shape[0] == 1 else picture_CHW.permute(1, 2, 0)
    return encode_png(pixels.contiguous().numpy())


def _save(picture: Image.Image, file_format: str, **options: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()
