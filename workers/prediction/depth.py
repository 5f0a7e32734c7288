"""Depth of one picture from the disparity of a network that was trained on stereo pairs.

Legend: B batch, C = 3 colours, H height, W width. Disparities are fractions of the width, depths metres.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from pixelmill.workers.evaluation.depth import FARTHEST_M, NEAREST_M
from pixelmill.workers.networks.monodepth import Monodepth


def flip_averaged(network: nn.Module, images_BCHW: Tensor, disparity_B1HW: Tensor) -> Tensor:
    """The disparity of Monodepth, averaged with that of the mirror image as the paper does after training."""
    mirrored_B1HW = network(images_BCHW.flip(-1))[0][:, :1].flip(-1).float()
    return with_mirror_image(disparity_B1HW, mirrored_B1HW)


def with_mirror_image(disparity_B1HW: Tensor, mirrored_B1HW: Tensor) -> Tensor:
    """The mean of the disparities of the picture and of its mirror image; at the left and right edge, the better of the two.

    The paper's post-processing: the left edge of the left view is not visible in the right view, so the leftmost 5 % come from
    the mirror image, and the rightmost 5 % from the picture.
    """
    x_W = torch.linspace(0, 1, disparity_B1HW.shape[-1], device=disparity_B1HW.device)
    at_left_W = 1 - (20 * (x_W - 0.05)).clamp(0, 1)
    at_right_W = at_left_W.flip(0)
    mean_B1HW = (disparity_B1HW + mirrored_B1HW) / 2
    return at_right_W * disparity_B1HW + at_left_W * mirrored_B1HW + (1 - at_left_W - at_right_W) * mean_B1HW


class FlipAveraged(nn.Module):
    """A network for depth B1HW whose output is averaged with that for the mirror image: twice the work.

    Set `learned_from_pairs` for a disparity, which is unreliable at one edge of a picture; see `with_mirror_image`.
    """

    def __init__(self, network: nn.Module, *, learned_from_pairs: bool) -> None:
        super().__init__()
        self.network, self.learned_from_pairs = network, learned_from_pairs

    def forward(self, images_BCHW: Tensor) -> Tensor:
        values_B1HW = self.network(images_BCHW)
        mirrored_B1HW = self.network(images_BCHW.flip(-1)).flip(-1)
        if self.learned_from_pairs:
            return with_mirror_image(values_B1HW, mirrored_B1HW)
        return (values_B1HW + mirrored_B1HW) / 2


def disparity_to_depth(disparity_B1HW: Tensor, focal_px: float, baseline_m: float, width_px: float) -> Tensor:
    """Metres, 0.001 to 80, of disparities in fractions of the width; `focal_px` belongs to pictures `width_px` wide."""
    disparity_px_B1HW = (disparity_B1HW * width_px).clamp_min(1e-9)
    return (focal_px * baseline_m / disparity_px_B1HW).clamp(NEAREST_M, FARTHEST_M)


@torch.inference_mode()
def predict_depth(
    network: nn.Module, images_BCHW: Tensor, focal_px: float, baseline_m: float, *, flip: bool = True
) -> Tensor:
    """Depth B1HW in metres of pictures in [0, 1] of any size; `focal_px` is in pixels of these pictures.

    `baseline_m` is that of the network's training pairs. The pictures are resized to the network's training size.
    """
    size_px = list(cast("Monodepth", network).config.size_px)
    resized_BCHW = F.interpolate(images_BCHW, size_px, mode="bilinear", antialias=True)
    disparity_B1HW = network(resized_BCHW)[0][:, :1].float()
    if flip:
        disparity_B1HW = flip_averaged(network, resized_BCHW, disparity_B1HW)
    full_B1HW = F.interpolate(disparity_B1HW, images_BCHW.shape[-2:], mode="bilinear", align_corners=False)
    return disparity_to_depth(full_B1HW, focal_px, baseline_m, images_BCHW.shape[-1])
