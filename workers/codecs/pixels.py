"""From a picture of any mode to RGB pixels: alpha on white, 16 bits to 8.

Legend: C = 3 channels (red, green, blue), H = height, W = width; pixels are uint8, 0 to 255.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from pixelmill.workers.codecs.decode_errors import unsupported
from pixelmill.workers.typed_torch import from_numpy


def to_rgb_or_grey(picture: Image.Image) -> Image.Image:
    """A picture of mode RGB or L, without alpha."""
    if picture.mode.startswith("I;16"):
        return high_byte(picture)
    if picture.mode == "LAB":
        return picture.convert("RGB")  # by way of LittleCMS, from white D50 to sRGB
    if picture.mode in ("I", "F", "HSV"):
        raise unsupported(f"a picture of signed, 32-bit or float values ({picture.mode}), which have no agreed white,")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture if picture.mode in ("RGB", "L") else picture.convert("RGB")


def high_byte(picture: Image.Image) -> Image.Image:
    grey_HW = (np.asarray(picture) >> 8).astype(np.uint8)
    if isinstance(picture, TiffImageFile) and picture.tag_v2.get(262) == 0:  # white is zero: Pillow inverts 8 bits only
        grey_HW = 255 - grey_HW
    return Image.fromarray(grey_HW)


def to_pixels(picture: Image.Image) -> torch.Tensor:
    pixels_HWC = np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))
    return from_numpy(pixels_HWC).permute(2, 0, 1)
