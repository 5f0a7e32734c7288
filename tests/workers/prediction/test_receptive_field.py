"""The measured reach of a network equals that of its architecture."""

from __future__ import annotations

import pytest
from torch import nn

from pixelmill.workers.prediction.receptive_field import measured_reach

PLACES = [(48 + step, 48 + step) for step in range(4)]


@pytest.mark.parametrize(
    ("module", "reach_px", "scale"),
    [
        (nn.Conv2d(3, 4, 1), 0, 1),
        (nn.Conv2d(3, 4, 7, padding=3), 3, 1),
        (nn.Conv2d(3, 4, (3, 9), padding=(1, 4)), 4, 1),
        (nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=2, dilation=2)), 3, 1),
        (nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ConvTranspose2d(4, 2, 4, 4)), 3, 1),
        (nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.PixelShuffle(2)), 1, 2),
    ],
    ids=["1x1", "7x7", "3x9", "dilated", "strided", "enlarging"],
)
def test_convolutions_see_as_far_as_their_kernels(module: nn.Module, reach_px: int, scale: int) -> None:
    assert measured_reach(module, 3, (96, 96), PLACES, scale=scale) == reach_px


def test_what_sees_the_whole_picture_is_found_out() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.InstanceNorm2d(4))
    assert measured_reach(module, 3, (96, 96), PLACES) >= 48
