"""Decode JPEG by libjpeg-turbo's own interface, straight into the memory of the result.

Pillow decodes with the same library into lines of its own, and copies them twice before they are pixels. The values are the same
to the last bit. Whatever is not a flawless file of grey or three colours is left to Pillow, whose judgement counts.

Legend: C = 3 channels (red, green, blue), H = height, W = width; pixels are uint8, 0 to 255.
"""

from __future__ import annotations

import math

import torch

from pixelmill.workers.codecs.headers import JpegFrame
from pixelmill.workers.typed_torch import from_numpy

try:
    import simplejpeg  # pyright: ignore[reportMissingTypeStubs]
except ImportError:  # a bare machine with a GPU, where only torch and its kin are installed
    simplejpeg = None

LEAST_SIDE_PX = 8
"""Of all fractions in eighths it takes the smallest with so many rows and columns; shorter pictures have them at several."""


def turbo_pixels(data: bytes, frame: JpegFrame, factor: int) -> torch.Tensor | None:
    """Pixels_CHW at 1 / `factor` of the size, interleaved in memory; None where Pillow has to read the file.

    libjpeg's warnings count as faults here: for a scan that ends early it fills the rest with grey and only warns.
    """
    if simplejpeg is None or len(frame.sampling) not in (1, 3):  # four are inks, which it does not turn into colours
        return None
    if factor > 1 and max(frame.height, frame.width) < LEAST_SIDE_PX:
        return None
    height, width = math.ceil(frame.height / factor), math.ceil(frame.width / factor)
    try:
        pixels_HWC = simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width, min_factor=factor)
    except ValueError:
        return None
    return from_numpy(pixels_HWC).permute(2, 0, 1) if pixels_HWC.shape == (height, width, 3) else None
