"""Encode pixels as PNG, JPEG or WebP; every encoder refuses values that it would distort.

The settings are measured: `python -m benchmarks.encoding`, contenders in turn on two busy cores, milliseconds and KB a picture.

                                       here          before: level 6   tried too
    RGB PNG, 481x321 as taken          9.0, 280      52.6, 271         Pillow level 1: 16.0, 272; and runs alone 14.0, 278
    RGB PNG, enlarged to 1024x768      34, 983       321, 873          Pillow level 1: 101, 967; and runs alone 88, 913
    16-bit PNG, smooth, 427x370        4.8, 205      24.2, 194         Pillow level 1: 9.7, 203; and runs alone 6.2, 196
    PNG of class ids, 1024x768         1.0, 5.1      3.1, 8.6          Pillow level 1 and runs alone: 1.3, 13
    JPEG, quality 95, 1024x768         4.6, 208                        4:4:4: 4.9, 249; torchvision.io is deprecated
    WebP, quality 90, 481x321          11.8, 46.6                      method 4, the usual one: 25.8, 46.3
    WebP, lossless, 481x321            8.0, 197                        method 1: 27.7, 185

PNG uses the filter Up alone and deflate level 1, class ids run lengths alone: choosing a filter for each row, as Pillow does,
costs more time than it saves. PNG and WebP release the interpreter lock while they encode; JPEG holds it, for 6 ms a megapixel.

Legend: C channels, H = height, W = width; pixels are uint8, 0 to 255.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from pixelmill.workers.codecs.png_writer import GREY, PALETTE, RGB, RGBA, Header, Strategy, write_png
from pixelmill.workers.errors import RowError

FAST = 1
"""Compression level of zlib."""
MOST_JPEG_PX = 65_535
MOST_WEBP_PX = 16_383
"""Most pixels of a side that the format can state."""


def encode_png(pixels: np.ndarray, level: int = FAST) -> bytes:
    """PNG of uint8 pixels: grey_HW, rgb_HWC (C = 3) or rgba_HWC (C = 4); `level` of zlib is 0 to 9."""
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))):
        raise ValueError(f"encode_png takes uint8 HW, HW3 or HW4, not {pixels.dtype} {pixels.shape}")
    colour = GREY if pixels.ndim == 2 else {3: RGB, 4: RGBA}[pixels.shape[2]]
    return _png(pixels, colour, level)


def encode_png16(values_HW: np.ndarray, level: int = FAST) -> bytes:
    """16-bit grey PNG of uint16 values; every reader of 16-bit PNG gets the same numbers back."""
    if values_HW.dtype != np.uint16 or values_HW.ndim != 2:
        raise ValueError(f"encode_png16 takes uint16 HW, not {values_HW.dtype} {values_HW.shape}")
    return _png(values_HW, GREY, level)


def encode_png_palette(ids_HW: np.ndarray, palette: Sequence[tuple[int, int, int]], level: int = FAST) -> bytes:
    """8-bit palette PNG of uint8 class ids: the stored values are the ids, viewers show palette[id] (red, green, blue)."""
    if ids_HW.dtype != np.uint8 or ids_HW.ndim != 2 or not 1 <= len(palette) <= 256:
        raise ValueError(f"encode_png_palette takes uint8 HW and 1 to 256 colours, not {ids_HW.dtype} {ids_HW.shape}")
    _require_pixels(ids_HW.shape)
    if int(ids_HW.max()) >= len(palette):
        raise ValueError(f"class id {int(ids_HW.max())} has no colour: the palette has {len(palette)}")
    return _png(ids_HW, PALETTE, level, "runs", bytes(value for colour in palette for value in colour))


def encode_png_tensor(picture_CHW: torch.Tensor) -> bytes:
    """PNG of a picture CHW: uint8, with one channel, three, or four including alpha."""
    return encode_png(_as_shown(picture_CHW, "encode_png_tensor", (1, 3, 4)))


def encode_jpeg(pixels_CHW: torch.Tensor, quality: int = 90) -> bytes:
    """Baseline JPEG of uint8 pixels, grey or RGB with chroma halved (4:2:0); `quality` is 1 to 100.

    RowError if a side has more than 65,535 pixels.
    """
    _require_quality("encode_jpeg", quality)
    shown = _as_shown(pixels_CHW, "encode_jpeg", (1, 3))
    _require_side("JPEG", shown.shape, MOST_JPEG_PX, "format: png")
    return _save(Image.fromarray(shown), "JPEG", quality=quality)


def encode_webp(pixels_CHW: torch.Tensor, quality: int = 90, *, lossless: bool = False) -> bytes:
    """WebP of uint8 pixels, RGB or RGBA; `quality` is 1 to 100 and ignored in lossless mode.

    RowError if a side has more than 16,383 pixels.
    """
    _require_quality("encode_webp", quality)
    shown = _as_shown(pixels_CHW, "encode_webp", (3, 4))
    enough = "format: jpeg or png" if max(shown.shape[:2]) <= MOST_JPEG_PX else "format: png"
    _require_side("WebP", shown.shape, MOST_WEBP_PX, enough)
    if lossless:
        return _save(Image.fromarray(shown), "WEBP", lossless=True, quality=0, method=0, exact=True)
    return _save(Image.fromarray(shown), "WEBP", quality=quality, method=2)


def _png(pixels: np.ndarray, colour: int, level: int, strategy: Strategy = "default", palette: bytes = b"") -> bytes:
    _require_pixels(pixels.shape)
    height, width = pixels.shape[:2]
    header = Header(width, height, 16 if pixels.dtype == np.uint16 else 8, colour)
    stored = pixels.astype(">u2") if pixels.dtype == np.uint16 else pixels
    rows_HN = np.ascontiguousarray(stored).reshape(height, -1).view(np.uint8)
    return write_png(rows_HN, header, level=level, strategy=strategy, palette=palette)


def _as_shown(pixels_CHW: torch.Tensor, encoder: str, channels: tuple[int, ...]) -> np.ndarray:
    """The pixels as HWC, or HW of one channel."""
    if pixels_CHW.dtype != torch.uint8 or pixels_CHW.ndim != 3 or pixels_CHW.shape[0] not in channels:
        wanted = " or ".join(f"{count}HW" for count in channels)
        raise ValueError(f"{encoder} takes uint8 {wanted}, not {pixels_CHW.dtype} {tuple(pixels_CHW.shape)}")
    _require_pixels(tuple(pixels_CHW.shape))
    shown = pixels_CHW[0] if pixels_CHW.shape[0] == 1 else pixels_CHW.permute(1, 2, 0)
    return shown.contiguous().numpy()


def _require_pixels(shape: tuple[int, ...]) -> None:
    if 0 in shape:
        raise ValueError(f"no format holds a picture without pixels: {shape}")


def _require_quality(encoder: str, quality: int) -> None:
    if not 1 <= quality <= 100:
        raise ValueError(f"{encoder} takes a quality from 1 to 100, not {quality}")


def _require_side(name: str, shape: tuple[int, ...], most_px: int, instead: str) -> None:
    height, width = shape[:2]
    if max(height, width) > most_px:
        raise RowError(
            "encode",
            "TooLarge",
            f"the picture has {width:,}x{height:,} px, and a side of a {name} at most {most_px:,}; {instead} can hold it",
        )


def _save(picture: Image.Image, file_format: str, **options: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()
