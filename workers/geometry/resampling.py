"""Shrink and enlarge luma as in the super-resolution literature.

Bicubic interpolation is that of MATLAB's imresize: Keys' kernel with a = -0.5, widened for shrinking (antialiasing). torch's
`interpolate` with antialias=True differs only in the outermost pixels: MATLAB mirrors the picture, torch ignores all outside of
it; on Set5 this changes less than 0.01 dB.

As in the papers' scripts, neither a shrunk picture nor a result that is scored is rounded to 8 bits. Measured on Set5 x2, bicubic
and a public VDSR: 33.68 and 37.63 dB without rounding, 33.66 and 37.59 with the result rounded, 33.65 and 37.52 with both
rounded. (Other conventions are far off, for bicubic: RGB 31.8, luma from 0 to 255 32.4, no antialiasing 34.4.)

Legend: H height, W width, C = 3 channels (red, green, blue); pixels and luma are on the scale 0 to 255.
"""

from __future__ import annotations

import numpy as np
from torch.nn import functional

from pixelmill.workers.typed_torch import from_numpy

REACH_PX = 4
"""Pixels of the small picture around a window that its interpolation depends on: 2 by enlarging, 2 by shrinking."""


LUMA_OF_RGB = (65.481, 128.553, 24.966)
"""BT.601: the contributions of red, green and blue in [0, 1] to luma, which begins at BLACK."""
BLACK = 16.0
WHITE = 235.0


def luma(rgb_HWC: np.ndarray) -> np.ndarray:
    """BT.601 luma HW of uint8 RGB, rounded to uint8 in [16, 235], as MATLAB's rgb2ycbcr."""
    return np.rint(rgb_HWC / 255 @ np.array(LUMA_OF_RGB) + BLACK).astype(np.uint8)


def crop_to_multiple(pixels_HW: np.ndarray, scale: int) -> np.ndarray:
    """Crop to the upper left part whose sides are the largest multiples of `scale`."""
    height, width = pixels_HW.shape[:2]
    return pixels_HW[: height - height % scale, : width - width % scale]


def shrink(luma_HW: np.ndarray, scale: int) -> np.ndarray:
    """Luma `scale` times smaller, float64, neither rounded nor clamped; the sides have to be multiples of `scale`."""
    height, width = luma_HW.shape
    return _resize(luma_HW, height // scale, width // scale)


def enlarge(luma_HW: np.ndarray, scale: int) -> np.ndarray:
    """Luma `scale` times larger, float64, neither rounded nor clamped."""
    height, width = luma_HW.shape
    return _resize(luma_HW, height * scale, width * scale)


def interpolated(luma_HW: np.ndarray, scale: int) -> np.ndarray:
    """Luma, shrunk and enlarged again: float64 of the same size."""
    return enlarge(shrink(luma_HW, scale), scale)


def interpolated_window(luma_HW: np.ndarray, scale: int, top: int, left: int, size_px: int) -> np.ndarray:
    """A square of `interpolated(luma_HW, scale)`, computed for that square alone, and equal within 1e-12."""
    rows, columns = (
        _surroundings(start, size_px, scale, side) for start, side in zip((top, left), luma_HW.shape, strict=True)
    )
    whole_HW = interpolated(luma_HW[rows, columns], scale)
    top, left = top - rows.start, left - columns.start
    return whole_HW[top : top + size_px, left : left + size_px]


def _surroundings(start: int, size_px: int, scale: int, side_px: int) -> slice:
    """The range of pixels on which `size_px` interpolated pixels depend; both ends are borders of small pixels."""
    first, last = start // scale - REACH_PX, -(-(start + size_px) // scale) + REACH_PX
    return slice(max(0, first * scale), min(side_px, last * scale))


def _resize(pixels_HW: np.ndarray, height: int, width: int) -> np.ndarray:
    pixels_11HW = from_numpy(np.ascontiguousarray(pixels_HW, dtype=np.float64))[None, None]
    return functional.interpolate(pixels_11HW, (height, width), mode="bicubic", antialias=True)[0, 0].numpy()


def to_uint8(pixels: np.ndarray) -> np.ndarray:
    return np.rint(pixels).clip(0, 255).astype(np.uint8)
