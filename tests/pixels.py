"""Compare decoded pixels with what Pillow makes of a picture."""

from __future__ import annotations

import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor


def as_pixels(picture: Image.Image) -> torch.Tensor:
    return pil_to_tensor(picture.convert("RGB"))


def distance(one_CHW: torch.Tensor, other_CHW: torch.Tensor) -> torch.Tensor:
    assert one_CHW.shape == other_CHW.shape
    return (one_CHW.int() - other_CHW.int()).abs().float()
