"""The hindsight loss: feature distances between several outputs for a layout and its photograph; only the best output counts.

Chen & Koltun 2017: L1 between features, of the picture itself and of the second convolution of each block (after its ReLU, which
their code calls conv1_2). For each class of each layout, only the output with the smallest distance counts.

Legend: B batch, O outputs, K classes, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

LAYERS = ("relu1_2", "relu2_2", "relu3_2", "relu4_2", "relu5_2")
PIXELS = "pixels"
"""The picture itself, which the paper counts as a layer too."""


def feature_distances(vgg: nn.Module, made_BOCHW: Tensor, photos_BCHW: Tensor) -> list[Tensor]:
    """Absolute differences averaged over channels, BOHW: of the pixels, then of LAYERS, each at its own grid."""
    with torch.no_grad():
        truths = {PIXELS: photos_BCHW, **vgg(photos_BCHW, LAYERS)}
    images_BOCHW = made_BOCHW.flatten(0, 1)
    made = {PIXELS: images_BOCHW, **vgg(images_BOCHW, LAYERS)}
    outputs = made_BOCHW.shape[1]
    return [
        (_by_output(made[name].float(), outputs) - truth_BCHW.float()[:, None]).abs().mean(2)
        for name, truth_BCHW in truths.items()
    ]


def _by_output(maps_NCHW: Tensor, outputs: int) -> Tensor:
    """Maps BOCHW, from maps that are ordered by layout."""
    return maps_NCHW.view(-1, outputs, *maps_NCHW.shape[1:])


def hindsight(maps_BOHW: Sequence[Tensor], layouts_BKHW: Tensor, mean_share: float = 0.0) -> Tensor:
    """The distance between a layout's outputs and its photograph, with the best output for each class: float32 B.

    Equation 5 of the paper: sum over classes of the minimum over outputs of the sum over layers. With one output, the
    sum over layers of the maps' means. `mean_share` of the minimum is the mean over outputs instead.
    """
    costs_BOK = torch.stack([_class_costs(map_BOHW, layouts_BKHW) for map_BOHW in maps_BOHW]).sum(0)
    best_B, mean_B = costs_BOK.amin(1).sum(1), costs_BOK.mean(1).sum(1)
    return best_B + mean_share * (mean_B - best_B)


def _class_costs(map_BOHW: Tensor, layouts_BKHW: Tensor) -> Tensor:
    """The contribution of each class to the mean of the map, BOK; a cell is divided among classes by their share of its area."""
    height, width = map_BOHW.shape[2:]
    shares_BKHW = F.adaptive_avg_pool2d(layouts_BKHW.float(), (height, width))
    with torch.autocast(map_BOHW.device.type, enabled=False):
        return torch.einsum("bohw,bkhw->bok", map_BOHW.float(), shares_BKHW) / (height * width)


def mean_edge(images: Tensor) -> Tensor:
    """Mean length of the luminance gradient, per pixel, over ...CHW; blurred pictures have lower values."""
    grey = images.mean(-3)
    down, across = grey.diff(dim=-2)[..., :, :-1], grey.diff(dim=-1)[..., :-1, :]
    return (down.square() + across.square()).sqrt().mean((-2, -1))
