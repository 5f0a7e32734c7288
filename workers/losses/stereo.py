"""Losses of rectified stereo pairs: each view is reconstructed from the other one with the predicted disparity.

Godard et al. 2017 (arXiv:1609.03677). Smoothness counts the gradients along x and along y, as the paper says (a list
addition in the authors' code drops y).

Legend: B batch, C = 3 colours, H height, W width, 2 the left and the right view. Disparities are fractions of the width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def stereo_losses(
    left_BCHW: Tensor, right_BCHW: Tensor, disparities: Sequence[Tensor], ssim_share: float = 0.85
) -> dict[str, Tensor]:
    """The three terms of eq. 1 without their weights, each summed over both views and all scales.

    `disparities` are B2HW, finest first. Smoothness of scale s is divided by 2^s, as its weight is in the paper.
    """
    totals: dict[str, Tensor] = {}
    for scale, disparity_B2HW in enumerate(disparities):
        left_BCHW, right_BCHW = (_shrunk(view_BCHW, disparity_B2HW.shape[-2:]) for view_BCHW in (left_BCHW, right_BCHW))
        for name, term in _losses_of_scale(left_BCHW, right_BCHW, disparity_B2HW, ssim_share).items():
            weight = 0.5**scale if name == "smoothness" else 1.0
            totals[name] = totals.get(name, 0.0) + weight * term
    return totals


def _shrunk(view_BCHW: Tensor, size_HW: torch.Size) -> Tensor:
    """The mean over the area of each new pixel."""
    return view_BCHW if view_BCHW.shape[-2:] == size_HW else F.interpolate(view_BCHW, size_HW, mode="area")


def _losses_of_scale(left_BCHW: Tensor, right_BCHW: Tensor, both_B2HW: Tensor, ssim_share: float) -> dict[str, Tensor]:
    left_B1HW, right_B1HW = both_B2HW[:, :1], both_B2HW[:, 1:]
    rebuilt_left_BCHW, rebuilt_right_BCHW = warp(right_BCHW, -left_B1HW), warp(left_BCHW, right_B1HW)
    consistency = (warp(right_B1HW, -left_B1HW) - left_B1HW).abs().mean()
    consistency = consistency + (warp(left_B1HW, right_B1HW) - right_B1HW).abs().mean()
    return {
        "photometric": photometric_loss(rebuilt_left_BCHW, left_BCHW, ssim_share)
        + photometric_loss(rebuilt_right_BCHW, right_BCHW, ssim_share),
        "smoothness": smoothness_loss(left_B1HW, left_BCHW) + smoothness_loss(right_B1HW, right_BCHW),
        "consistency": consistency,
    }


def warp(maps_BCHW: Tensor, shift_B1HW: Tensor) -> Tensor:
    """Maps with the values of `maps_BCHW` at x + shift * W in pixel x: bilinear, with repeated edges.

    The left view is `warp(right, -disparity_left)`, the right view `warp(left, +disparity_right)`.
    """
    _, _, height, width = maps_BCHW.shape
    device, dtype = maps_BCHW.device, shift_B1HW.dtype
    # pixel centres; the picture is 2 wide, from -1 to 1
    x_W = (2 * torch.arange(width, device=device, dtype=dtype) + 1) / width - 1
    y_H = (2 * torch.arange(height, device=device, dtype=dtype) + 1) / height - 1
    x_BHW = x_W + 2 * shift_B1HW[:, 0]
    grid_BHW2 = torch.stack((x_BHW, y_H[:, None].expand_as(x_BHW)), dim=-1)
    return F.grid_sample(maps_BCHW.to(grid_BHW2.dtype), grid_BHW2, padding_mode="border", align_corners=False)


def photometric_loss(rebuilt_BCHW: Tensor, view_BCHW: Tensor, ssim_share: float = 0.85) -> Tensor:
    """Eq. 2: a share of (1 - SSIM) / 2 and the rest of the absolute difference, both means over pixels."""
    difference = (rebuilt_BCHW - view_BCHW).abs().mean()
    return ssim_share * ssim_distance(rebuilt_BCHW, view_BCHW).mean() + (1 - ssim_share) * difference


def ssim_distance(first_BCHW: Tensor, second_BCHW: Tensor) -> Tensor:
    """(1 - SSIM) / 2 in [0, 1] with a uniform window of 3x3 pixels; the result is one pixel smaller at each edge."""
    mean_x, mean_y = _mean_3x3(first_BCHW), _mean_3x3(second_BCHW)
    variance_x = _mean_3x3(first_BCHW.square()) - mean_x.square()
    variance_y = _mean_3x3(second_BCHW.square()) - mean_y.square()
    covariance = _mean_3x3(first_BCHW * second_BCHW) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    above = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    below = (mean_x.square() + mean_y.square() + c1) * (variance_x + variance_y + c2)
    return ((1 - above / below) / 2).clamp(0, 1)


def _mean_3x3(maps_BCHW: Tensor) -> Tensor:
    """`avg_pool2d(maps, 3, 1)` in two passes, which is three to five times as fast on a CPU."""
    rows_BCHW = maps_BCHW[..., :-2] + maps_BCHW[..., 1:-1] + maps_BCHW[..., 2:]
    return (rows_BCHW[..., :-2, :] + rows_BCHW[..., 1:-1, :] + rows_BCHW[..., 2:, :]) / 9


def smoothness_loss(disparity_B1HW: Tensor, view_BCHW: Tensor) -> Tensor:
    """Eq. 3: gradients of the disparity along x and along y, weighted down at gradients of the picture."""
    along_x, along_y = (_edge_aware_gradient(disparity_B1HW, view_BCHW, axis) for axis in (-1, -2))
    return along_x + along_y


def _edge_aware_gradient(disparity_B1HW: Tensor, view_BCHW: Tensor, axis: int) -> Tensor:
    """The mean of |d'| exp(-|I'|), |I'| being the mean over colours."""
    edges_B1HW = view_BCHW.diff(dim=axis).abs().mean(1, keepdim=True)
    return (disparity_B1HW.diff(dim=axis).abs() * torch.exp(-edges_B1HW)).mean()
