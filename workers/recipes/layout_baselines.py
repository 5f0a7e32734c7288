"""Pictures that need no network, beside which the pictures of a synthesis network are read.

Legend: B batch, C = 3 colours, H height, W width, K classes, P pixels, O = 1 output.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from pixelmill.workers.recipes import Sample
from pixelmill.workers.recipes.layout_samples import stacked
from pixelmill.workers.recipes.squares import chunks, scaled

BLUR_PX = 2.0
CHUNK = 32


def mean_colours(samples: Iterable[Sample], classes: int) -> Tensor:
    """The mean colour of each class over photographs, KC in [0, 1]; black where no pixel is of it."""
    sums_KC, counts_K = torch.zeros(classes, 3, dtype=torch.float64), torch.zeros(classes, dtype=torch.float64)
    for chunk in chunks(samples, CHUNK):
        batch = stacked(chunk)
        ids_P, colours_PC = (
            batch["layouts"].flatten().long(),
            scaled(batch["photos"]).permute(0, 2, 3, 1).reshape(-1, 3),
        )
        has_class_P = ids_P < classes
        sums_KC.index_add_(0, ids_P[has_class_P], colours_PC[has_class_P].double())
        counts_K += torch.bincount(ids_P[has_class_P], minlength=classes)
    return (sums_KC / counts_K.clamp_min(1)[:, None]).float()


def painted(layouts_BHW: Tensor, colours_KC: Tensor) -> Tensor:
    """Every class in its colour, BOCHW; pixels without a class are black."""
    table_KC = torch.cat([colours_KC, colours_KC.new_zeros(1, 3)])
    return table_KC[layouts_BHW.long().clamp_max(len(colours_KC))].permute(0, 3, 1, 2)[:, None]


def blurred(photos_BCHW: Tensor) -> Tensor:
    """The photograph without its detail, BOCHW: blurred by a Gaussian of `BLUR_PX`."""
    offsets_N = torch.arange(-int(3 * BLUR_PX), int(3 * BLUR_PX) + 1, dtype=torch.float32)
    kernel_N = torch.exp(-offsets_N.square() / (2 * BLUR_PX**2))
    kernel_C1N = (kernel_N / kernel_N.sum()).expand(photos_BCHW.shape[1], 1, -1)
    reach = len(offsets_N) // 2
    padded_BCHW = F.pad(photos_BCHW, (reach, reach, reach, reach), mode="reflect")
    rows_BCHW = F.conv2d(padded_BCHW, kernel_C1N[..., None], groups=len(kernel_C1N))
    return F.conv2d(rows_BCHW, kernel_C1N[:, :, None], groups=len(kernel_C1N))[:, None]
