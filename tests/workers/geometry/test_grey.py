"""Luma: grey stays grey, green is brightest, and no picture is too large to be done in parts."""

from __future__ import annotations

import torch

from pixelmill.workers.geometry.grey import LUMA, ROWS, to_grey


def test_luma_weighs_green_most_and_blue_least() -> None:
    pure_CHW = torch.eye(3).mul(255).byte()[:, None]
    assert to_grey(pure_CHW).tolist() == [[[76, 150, 29]]]


def test_equal_channels_keep_every_level() -> None:
    levels_CHW = torch.arange(256, dtype=torch.uint8).view(1, 16, 16).expand(3, -1, -1)
    assert torch.equal(to_grey(levels_CHW), levels_CHW[:1])


def test_a_picture_of_many_rows_is_grey_all_over() -> None:
    generator = torch.Generator().manual_seed(0)
    pixels_CHW = torch.randint(0, 256, (3, 2 * ROWS + 7, 5), dtype=torch.uint8, generator=generator)
    luma_HW = (pixels_CHW.double() * torch.tensor(LUMA).double().view(3, 1, 1)).sum(0)
    assert to_grey(pixels_CHW).shape == (1, 2 * ROWS + 7, 5)
    assert (to_grey(pixels_CHW)[0] - luma_HW).abs().max() <= 0.5 + 1e-3
