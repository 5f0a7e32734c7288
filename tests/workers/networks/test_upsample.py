"""Upsampling: where each way puts a cell, that unpooling undoes pooling, and which kernels make a checkerboard.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pixelmill.workers.errors import ModelError
from pixelmill.workers.networks.upsample import (
    LOCAL_UPSAMPLINGS,
    UPSAMPLINGS,
    Upsample,
    Upsampling,
    bilinear_kernel,
    fit,
    interpolate,
    pool_with_switches,
    unpool,
)

INTERPOLATIONS = ("nearest", "bilinear", "bicubic")


def random_maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def impulse(row: int, column: int) -> Tensor:
    maps_BCHW = torch.zeros(1, 1, 9, 11)
    maps_BCHW[0, 0, row, column] = 1
    return maps_BCHW


@pytest.mark.parametrize("way", UPSAMPLINGS)
@pytest.mark.parametrize("size_HW", [(12, 10), (13, 10), (12, 11), (13, 11)])
def test_every_way_gives_twice_the_grid_and_odd_ones_their_size(way: Upsampling, size_HW: tuple[int, int]) -> None:
    pooled_BCHW, switches_BCHW = pool_with_switches(random_maps(2, 3, *size_HW))
    upsample = Upsample(way, 5, 3)
    assert upsample(random_maps(2, 5, *pooled_BCHW.shape[2:]), size_HW, switches_BCHW).shape == (2, 3, *size_HW)


@pytest.mark.parametrize("way", UPSAMPLINGS)
def test_every_way_works_in_bfloat16_and_gives_every_weight_a_gradient(way: Upsampling) -> None:
    torch.manual_seed(0)
    upsample = Upsample(way, 4, 3)
    maps_BCHW = random_maps(2, 4, 4, 5).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        _, switches_BCHW = pool_with_switches(functional.conv2d(random_maps(2, 3, 9, 10), random_maps(3, 3, 1, 1)))
        doubled_BCHW = upsample(maps_BCHW, (9, 10), switches_BCHW)
    (doubled_BCHW.float() * random_maps(2, 3, 9, 10, seed=1)).sum().backward()
    assert doubled_BCHW.dtype == torch.bfloat16
    assert all(parameter.grad is not None and parameter.grad.all() for parameter in upsample.parameters())
    assert maps_BCHW.grad is not None
    assert maps_BCHW.grad.any()


@pytest.mark.parametrize("way", INTERPOLATIONS)
@pytest.mark.parametrize("place", [(4, 5), (3, 6)])
def test_a_cell_lies_in_the_middle_of_the_two_that_it_becomes(way: str, place: tuple[int, int]) -> None:
    doubled_HW = interpolate(impulse(*place), way, (18, 22))[0, 0]
    weights_HW = doubled_HW / doubled_HW.sum()
    centre = [(weights_HW.sum(1 - axis) * torch.arange(side)).sum().item() for axis, side in enumerate((18, 22))]
    assert centre == pytest.approx([2 * at + 0.5 for at in place], abs=1e-5)


def test_the_interpolations_repeat_the_border_and_bicubic_overshoots_by_torchs_kernel() -> None:
    ramp_BCHW = torch.arange(4.0).expand(1, 1, 4, 4)
    assert interpolate(ramp_BCHW, "nearest", (8, 8))[0, 0, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert interpolate(ramp_BCHW, "bilinear", (8, 8))[0, 0, 0].tolist() == [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]
    step_BCHW = torch.tensor([0.0, 0, 0, 1, 1, 1]).expand(1, 1, 6, 6)
    beside_the_edge = interpolate(step_BCHW, "bicubic", (12, 12))[0, 0, 0, 7].item()
    a, t = -0.75, 0.25  # the tap that is missing on the dark side, at 1 + 1/4, and the next one
    weights = [a * (1 + t) ** 3 - 5 * a * (1 + t) ** 2 + 8 * a * (1 + t) - 4 * a]
    assert beside_the_edge == pytest.approx(1 - sum(weights), abs=1e-6)
    assert beside_the_edge > 1


@pytest.mark.parametrize("way", LOCAL_UPSAMPLINGS)
def test_local_methods_give_a_window_the_values_of_the_whole(way: Upsampling) -> None:
    torch.manual_seed(0)
    upsample, maps_BCHW = Upsample(way, 2, 3), random_maps(1, 2, 8, 8)
    whole_BCHW, window_BCHW = upsample(maps_BCHW, (16, 16)), upsample(maps_BCHW[:, :, 2:6, 3:7], (8, 8))
    torch.testing.assert_close(window_BCHW, whole_BCHW[:, :, 4:12, 6:14])


def test_the_channels_may_be_mixed_before_because_interpolation_commutes_with_it() -> None:
    torch.manual_seed(0)
    for way in ("bilinear", "bicubic"):
        upsample, maps_BCHW = Upsample(way, 4, 2), random_maps(1, 4, 5, 6)
        after_BCHW = upsample.mixing(interpolate(maps_BCHW, way, (10, 12)))
        torch.testing.assert_close(upsample(maps_BCHW, (10, 12)), after_BCHW)


@pytest.mark.parametrize("size_HW", [(4, 6), (45, 60), (7, 9), (360, 479)])
def test_unpooling_undoes_pooling_at_the_maxima_and_leaves_zeros_elsewhere(size_HW: tuple[int, int]) -> None:
    maps_BCHW = random_maps(2, 3, *size_HW) + 0.1
    pooled_BCHW, switches_BCHW = pool_with_switches(maps_BCHW)
    restored_BCHW = unpool(pooled_BCHW, switches_BCHW, size_HW)
    is_maximum_BCHW = torch.zeros_like(maps_BCHW).flatten(2).scatter(2, switches_BCHW.flatten(2), 1).view_as(maps_BCHW)
    assert restored_BCHW.shape == maps_BCHW.shape
    assert torch.equal(restored_BCHW, maps_BCHW * is_maximum_BCHW)
    assert torch.equal(pool_with_switches(restored_BCHW)[0], pooled_BCHW)
    assert int((restored_BCHW > 0).sum()) == pooled_BCHW.numel()


def test_switches_of_another_layer_and_none_are_refused() -> None:
    pooled_BCHW, _ = pool_with_switches(random_maps(1, 2, 45, 60))
    _, other_BCHW = pool_with_switches(random_maps(1, 2, 22, 30))
    with pytest.raises(ModelError, match="another layer"):
        unpool(pooled_BCHW, other_BCHW, (45, 60))
    with pytest.raises(ModelError, match="needs the switches"):
        Upsample("unpool", 2, 2)(pooled_BCHW, (45, 60))


def test_a_size_that_is_not_twice_the_grid_is_refused_and_so_is_an_unknown_way() -> None:
    with pytest.raises(ModelError, match="44x60 can't become 46x60"):
        fit(random_maps(1, 1, 44, 60), (46, 60))
    with pytest.raises(ModelError, match="upsampling is cubic"):
        Upsample("cubic", 1, 1)  # pyright: ignore[reportArgumentType]


def test_an_odd_grid_is_extended_and_not_stretched() -> None:
    ramp_BCHW = torch.arange(22.0).expand(1, 1, 22, 22)
    even_BCHW, odd_BCHW = interpolate(ramp_BCHW, "bilinear", (44, 44)), interpolate(ramp_BCHW, "bilinear", (45, 45))
    assert torch.equal(odd_BCHW[..., :44, :44], even_BCHW)  # multiples of 1/4: nothing is rounded
    assert torch.equal(odd_BCHW[..., -1], odd_BCHW[..., -2])


def test_a_kernel_of_three_makes_a_checkerboard_and_those_here_do_not() -> None:
    """The weight that each cell inside gets from a transposed convolution of ones."""

    def coverage(transposed: nn.Module) -> Tensor:
        with torch.no_grad():
            for name, parameter in transposed.named_parameters():
                parameter.fill_(0.0 if name == "bias" else 1.0)
            return transposed(torch.ones(1, 1, 8, 8))[0, 0, 2:-2, 2:-2]

    assert coverage(nn.ConvTranspose2d(1, 1, 3, stride=2, padding=1)).unique().tolist() == [1, 2, 4]
    assert coverage(Upsample("transposed", 1, 1).mixing).unique().tolist() == [4]
    assert coverage(Upsample("transposed_k2", 1, 1).mixing).unique().tolist() == [1]


@pytest.mark.parametrize("stride", [2, 8, 16, 32])
def test_the_bilinear_kernel_interpolates_as_torch_does_but_for_the_border(stride: int) -> None:
    maps_BCHW, kernel_HW = random_maps(1, 1, 5, 6), bilinear_kernel(stride)
    scaled_BCHW = functional.conv_transpose2d(maps_BCHW, kernel_HW[None, None], stride=stride, padding=stride // 2)
    expected_BCHW = functional.interpolate(maps_BCHW, scale_factor=stride, mode="bilinear", align_corners=False)
    inner = slice(stride // 2, -(stride // 2))
    assert kernel_HW.shape == (2 * stride, 2 * stride)
    torch.testing.assert_close(scaled_BCHW[..., inner, inner], expected_BCHW[..., inner, inner])
