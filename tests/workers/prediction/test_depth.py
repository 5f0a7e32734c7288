"""Depth of one picture from the disparity that a network gives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pixelmill.workers.prediction.depth import FlipAveraged, disparity_to_depth, flip_averaged, predict_depth
from tests.workers.pairs import seeded_network


def test_depth_is_focal_length_times_baseline_over_disparity_in_pixels() -> None:
    disparity_B1HW = torch.tensor([0.06, 0.0, 0.3, 1e-5]).view(1, 1, 2, 2)
    depth_B1HW = disparity_to_depth(disparity_B1HW, focal_px=720.0, baseline_m=0.5, width_px=1200)
    assert depth_B1HW.flatten().tolist() == pytest.approx([5.0, 80.0, 1.0, 80.0])


class Slanted(nn.Module):
    """Predicts, for every picture, a disparity that rises from left to right."""

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        batch, _, height, width = images_BCHW.shape
        return (torch.linspace(0, 0.2, width).expand(batch, 2, height, width),)


def test_flip_averaging_takes_each_edge_from_the_picture_that_sees_behind_it() -> None:
    images_BCHW = torch.zeros(1, 3, 4, 201)
    plain_B1HW = Slanted()(images_BCHW)[0][:, :1]
    averaged_W = flip_averaged(Slanted(), images_BCHW, plain_B1HW)[0, 0, 0]
    assert averaged_W[:10].tolist() == pytest.approx(
        [0.2 - 0.001 * x for x in range(10)], abs=1e-5
    )  # the mirror image's
    assert averaged_W[-10:].tolist() == pytest.approx([0.191 + 0.001 * x for x in range(10)], abs=1e-5)  # the picture's
    assert averaged_W[50:150].tolist() == pytest.approx([0.1] * 100, abs=1e-5)


class Left(nn.Module):
    """The disparity of the left view alone, as models for depth give it."""

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return Slanted()(images_BCHW)[0][:, :1]


def test_a_network_that_is_averaged_is_what_the_paper_averages_or_a_plain_mean() -> None:
    images_BCHW = torch.zeros(1, 3, 4, 201)
    plain_B1HW = Left()(images_BCHW)
    of_pairs_B1HW = FlipAveraged(Left(), learned_from_pairs=True)(images_BCHW)
    assert torch.equal(of_pairs_B1HW, flip_averaged(Slanted(), images_BCHW, plain_B1HW))
    assert not torch.equal(of_pairs_B1HW, plain_B1HW)
    of_metres_B1HW = FlipAveraged(Left(), learned_from_pairs=False)(images_BCHW)
    torch.testing.assert_close(of_metres_B1HW, torch.full_like(plain_B1HW, 0.1))


def test_depth_is_predicted_at_the_size_of_the_picture_with_its_own_focal_length() -> None:
    network = seeded_network()
    for parameter in network.parameters():
        nn.init.zeros_(parameter)  # a disparity of 0.15 everywhere
    depth_B1HW = predict_depth(network, torch.rand(2, 3, 75, 200), focal_px=120.0, baseline_m=0.5)
    assert depth_B1HW.shape == (2, 1, 75, 200)
    torch.testing.assert_close(depth_B1HW, torch.full_like(depth_B1HW, 120 * 0.5 / (0.15 * 200)))
