"""Double the grid of feature maps, by a choice of methods whose conventions are stated here.

nearest         each cell becomes 2x2 equal ones
bilinear        half-pixel centres (align_corners=False), the border repeated
bicubic         likewise, with a = -0.75 as in torch and OpenCV, where MATLAB has -0.5; it overshoots beside edges
transposed_k2   a learned 2x2 kernel at stride 2 (Ronneberger et al. 2015): cells do not overlap, none leaves its 2x2
transposed      a learned 4x4 kernel at stride 2, padding 1: every cell of the result gets exactly 2x2 of its weights,
                where a 3x3 kernel gives 1, 2 or 4 in a checkerboard (Odena et al. 2016)
unpool          every value returns to the position of its maximum, with zeros elsewhere (Zeiler & Fergus 2014)

No method antialiases, which matters only for shrinking. In every method cell i covers cells 2i and 2i + 1, so that the results of
different methods, and of different levels, are aligned.

Legend: B batch, C channels, H height, W width, K kernel.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError

Upsampling = Literal["nearest", "bilinear", "bicubic", "transposed_k2", "transposed", "unpool"]
UPSAMPLINGS: tuple[Upsampling, ...] = get_args(Upsampling)
LOCAL_UPSAMPLINGS: tuple[Upsampling, ...] = ("nearest", "transposed_k2")
"""Methods in which no cell of the result depends on a neighbour, so that borders are treated like the interior."""

_TRANSPOSED_KERNELS = {"transposed_k2": 2, "transposed": 4}


class Upsample(nn.Module):
    """Maps BCHW to `channels_out` channels on twice the grid.

    If the method has no weights, a 1x1 convolution changes the channels first: it commutes with each of the three
    interpolations and costs a quarter on the smaller grid. Interpolation to the same number of channels has no parameters.
    """

    def __init__(self, way: Upsampling, channels_in: int, channels_out: int) -> None:
        super().__init__()
        if way not in UPSAMPLINGS:
            raise ModelError(f"upsampling is {way}; take one of {', '.join(UPSAMPLINGS)}")
        self.way = way
        self.mixing: nn.Module = nn.Identity()
        if way in _TRANSPOSED_KERNELS:
            kernel = _TRANSPOSED_KERNELS[way]
            self.mixing = nn.ConvTranspose2d(channels_in, channels_out, kernel, stride=2, padding=(kernel - 2) // 2)
        elif channels_in != channels_out:
            self.mixing = nn.Conv2d(channels_in, channels_out, kernel_size=1)

    def forward(self, maps_BCHW: Tensor, size_HW: tuple[int, int], switches_BCHW: Tensor | None = None) -> Tensor:
        """Maps of `size_HW`, the doubled size or one row or column off it; `unpool` needs the switches of the pooling."""
        mixed_BCHW = self.mixing(maps_BCHW)
        if self.way == "unpool":
            return unpool(mixed_BCHW, switches_BCHW, size_HW)
        if self.way in _TRANSPOSED_KERNELS:
            doubled_BCHW = fit(mixed_BCHW, size_HW)
        else:
            doubled_BCHW = interpolate(mixed_BCHW, self.way, size_HW)
        return doubled_BCHW.to(
            mixed_BCHW.dtype
        )  # autocast would return float32, which takes twice the memory in the next layers


def interpolate(
    maps_BCHW: Tensor, way: Literal["nearest", "bilinear", "bicubic"] | str, size_HW: tuple[int, int]
) -> Tensor:
    """Double the grid without weights, then crop or extend it to `size_HW`."""
    align_corners = None if way == "nearest" else False
    doubled_BCHW = F.interpolate(maps_BCHW, scale_factor=2, mode=way, align_corners=align_corners, antialias=False)
    return fit(doubled_BCHW, size_HW)


def fit(maps_BCHW: Tensor, size_HW: tuple[int, int]) -> Tensor:
    """Drop or repeat the last row and column, so that an odd grid regains its size and no cell moves.

    Interpolating to the odd size directly would stretch the grid by a fraction of a cell.
    """
    height, width = maps_BCHW.shape[2:]
    rows, columns = size_HW[0] - height, size_HW[1] - width
    if max(abs(rows), abs(columns)) > 1:
        raise ModelError(
            f"upsampling: {height}x{width} can't become {size_HW[0]}x{size_HW[1]}, only a cell more or less"
        )
    cut_BCHW = maps_BCHW[:, :, : size_HW[0], : size_HW[1]]
    return (
        F.pad(cut_BCHW, (0, max(columns, 0), 0, max(rows, 0)), mode="replicate") if max(rows, columns) > 0 else cut_BCHW
    )


def pool_with_switches(maps_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """2x2 maxima, and their switches: the position of each in the flattened HW of its channel."""
    return F.max_pool2d(maps_BCHW, 2, return_indices=True)


def unpool(maps_BCHW: Tensor, switches_BCHW: Tensor | None, size_HW: tuple[int, int]) -> Tensor:
    """The inverse of the pooling at the maxima, and 0 elsewhere; `size_HW` is the size before pooling, odd or even."""
    if switches_BCHW is None:
        raise ModelError("upsampling: unpool needs the switches of the pooling that it undoes")
    if switches_BCHW.shape != maps_BCHW.shape:
        raise ModelError(
            f"upsampling: switches {tuple(switches_BCHW.shape)} are of another layer than maps {tuple(maps_BCHW.shape)}"
        )
    with torch.autocast(
        maps_BCHW.device.type, enabled=False
    ):  # autocast would convert values to float32 that are only moved
        return F.max_unpool2d(maps_BCHW, switches_BCHW, kernel_size=[2, 2], output_size=list(size_HW))


def bilinear_kernel(stride: int) -> Tensor:
    """The kernel, 2 x stride on a side, whose transposed convolution interpolates linearly (Long et al. 2015).

    A cell's weight falls from its centre to 0 over one stride. At borders there is no neighbour to interpolate with, so the
    result fades to one half over half a stride, while `interpolate` repeats the border.
    """
    distances_K = (torch.arange(2 * stride) - (2 * stride - 1) / 2).abs() / stride
    weights_K = 1 - distances_K
    return weights_K[:, None] * weights_K
