"""A grey network enlarges each channel as a picture of its own, and an RGB network all at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pixelmill.workers.models.upscalers import Upscaler


@dataclass
class Described:
    """As spandrel describes a network: called with pictures, which it doubles, less their mean over channels."""

    input_channels: int
    model: nn.Module

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        assert images_BCHW.shape[1] == self.input_channels
        made = images_BCHW.repeat_interleave(2, 2).repeat_interleave(2, 3)
        return made - made.mean(1, keepdim=True) if self.input_channels > 1 else made


def test_channels_of_a_grey_network_stay_apart_and_in_order() -> None:
    images_BCHW = torch.rand(2, 3, 4, 5)
    made = Upscaler(Described(1, nn.Identity()))(images_BCHW)
    assert torch.equal(made, images_BCHW.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_channels_of_a_colour_network_go_together() -> None:
    images_BCHW = torch.rand(2, 3, 4, 5)
    made = Upscaler(Described(3, nn.Identity()))(images_BCHW)
    assert made.shape == (2, 3, 8, 10)
    assert made.mean(1).abs().max() < 1e-6
