"""The cascaded refinement network: a layout of classes to a photograph, from coarse to fine in one pass.

Chen & Koltun 2017. Each module takes the features of the previous one, bilinearly doubled and concatenated with the layout
averaged down to its grid, and applies a 3x3 convolution, LayerNorm over channels and positions, and LReLU 0.2, twice. A 1x1
convolution converts the features of the last module to `outputs` pictures.

The upsampling has align_corners=False, so that features are aligned with the layout; the reference code has True, which
stretches them by half a cell at the borders.

Legend: B batch, K classes, O outputs, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError

SLOPE = 0.2


@dataclass(frozen=True)
class CrnConfig:
    """The shape of a CascadedRefinement; ModelError when there can be none like it.

    `start_px` is the height and width of the coarsest grid; each further entry of `widths` doubles it. The defaults are
    the reference code's for 256 x 512. It has 128 more channels at 512 x 1024 and then 32 at 1024 x 2048.
    """

    classes: int = 12
    start_px: tuple[int, int] = (4, 8)
    widths: tuple[int, ...] = (1024, 1024, 1024, 1024, 1024, 512, 512)
    outputs: int = 1

    def __post_init__(self) -> None:
        for name in ("start_px", "widths"):  # a card holds lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.start_px) != 2 or min(self.start_px) < 1:
            raise ModelError(f"crn: start_px is {self.start_px}; take a height and a width of 1 or more, such as 4, 8")
        if not self.widths or min(self.widths) < 1:
            raise ModelError(f"crn: widths are {self.widths}; take at least one, each 1 or more")
        if min(self.classes, self.outputs) < 1:
            raise ModelError(f"crn: classes is {self.classes} and outputs {self.outputs}; take 1 or more")

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width of the layouts and the pictures."""
        factor = 2 ** (len(self.widths) - 1)
        return self.start_px[0] * factor, self.start_px[1] * factor


class CascadedRefinement(nn.Module):
    """Layouts BKHW, the share of each class in each pixel, to pictures BOCHW around [0, 1], not clamped.

    97,420,803 parameters by default; with the reference code's 20 classes and all its nine modules 98,674,531.
    """

    def __init__(self, config: CrnConfig) -> None:
        super().__init__()
        self.config = config
        self.coarsest = RefinementModule(config.classes, config.widths[0])
        self.finer = nn.ModuleList(
            RefinementModule(coarse + config.classes, fine) for coarse, fine in pairwise(config.widths)
        )
        self.to_pictures = nn.Conv2d(config.widths[-1], 3 * config.outputs, 1)

    def forward(self, layouts_BKHW: Tensor) -> Tensor:
        if layouts_BKHW.shape[2:] != self.config.size_px:
            given, expected = tuple(layouts_BKHW.shape[2:]), self.config.size_px
            raise ModelError(f"crn: a layout of {given} was given to a network for {expected}; resize it")
        coarsest_BKHW, *finer_BKHW = layout_pyramid(layouts_BKHW, len(self.config.widths))
        maps_BCHW = self.coarsest(coarsest_BKHW)
        for module, layout_BKHW in zip(self.finer, finer_BKHW, strict=True):
            doubled_BCHW = F.interpolate(maps_BCHW, scale_factor=2, mode="bilinear", align_corners=False)
            maps_BCHW = module(torch.cat([doubled_BCHW, layout_BKHW.to(doubled_BCHW.dtype)], 1))
        pictures_BOCHW = self.to_pictures(maps_BCHW).unflatten(1, (self.config.outputs, 3))
        return (pictures_BOCHW + 1) / 2


def layout_pyramid(layouts_BKHW: Tensor, levels: int) -> Sequence[Tensor]:
    """The layout at every grid, coarsest first; a cell holds the share of each class in the area under it."""
    pyramid = [layouts_BKHW]
    for _ in range(levels - 1):
        pyramid.append(F.avg_pool2d(pyramid[-1], 2))
    return pyramid[::-1]


def one_hot(layouts_BHW: Tensor, classes: int) -> Tensor:
    """Class ids to the share of each class, 0 or 1: float BKHW, channels last. An id beyond the classes belongs to none."""
    known_BHW = layouts_BHW.long().clamp(max=classes)
    return F.one_hot(known_BHW, classes + 1)[..., :classes].permute(0, 3, 1, 2).float()


class RefinementModule(nn.Sequential):
    """Twice: 3x3 convolution, LayerNorm with a gain and an offset per channel, LReLU."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(
            *_normalized_convolution(channels_in, channels_out),
            *_normalized_convolution(channels_out, channels_out),
        )


def _normalized_convolution(channels_in: int, channels_out: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)  # the norm has the offset
    # one group is LayerNorm over channels and positions of each picture, parameters per channel
    return [convolution, nn.GroupNorm(1, channels_out), nn.LeakyReLU(SLOPE)]
