"""Pixels are put side by side in memory of their own, and stay the same pixels."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from pixelmill.workers.geometry.memory_order import are_interleaved, batch_of_one, interleaved


def planes() -> torch.Tensor:
    return torch.arange(3 * 20 * 30, dtype=torch.uint8).view(3, 20, 30)


@pytest.mark.parametrize(
    "pixels_CHW",
    [planes(), planes()[:, 5:9, 3:8], planes().flip(2), planes().transpose(1, 2), planes()[:1]],
    ids=["planes", "crop", "mirrored", "turned", "grey"],
)
def test_the_channels_of_a_pixel_lie_side_by_side_and_the_values_stay(pixels_CHW: torch.Tensor) -> None:
    made_CHW = interleaved(pixels_CHW)
    assert torch.equal(made_CHW, pixels_CHW)
    assert made_CHW.permute(1, 2, 0).is_contiguous()


def test_a_crop_keeps_none_of_the_picture_that_it_was_cut_from() -> None:
    made_CHW = interleaved(planes()[:, :4, :5])
    assert made_CHW.untyped_storage().nbytes() == 3 * 4 * 5


@pytest.mark.parametrize(
    "pixels_CHW", [interleaved(planes()), interleaved(planes())[:, 5:9, 3:8]], ids=["whole", "crop"]
)
def test_torch_recognizes_the_memory_order_of_interleaved_pixels(pixels_CHW: torch.Tensor) -> None:
    batch_1CHW = batch_of_one(pixels_CHW)
    assert torch.equal(batch_1CHW, pixels_CHW[None])
    assert batch_1CHW.data_ptr() == pixels_CHW.data_ptr()
    made_1CHW = functional.interpolate(batch_1CHW, (3, 4), mode="bilinear", antialias=True)
    assert made_1CHW.is_contiguous(memory_format=torch.channels_last)
    assert not made_1CHW.is_contiguous()


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (planes()[None], False),
        (batch_of_one(interleaved(planes())), True),
        (torch.zeros(2, 1, 4, 5), False),
        (batch_of_one(interleaved(planes())[:, 2:]), True),
        (batch_of_one(interleaved(planes())[:, :, 2:]), False),
        (torch.zeros(2, 3), False),
    ],
    ids=["planes", "interleaved", "one channel", "rows", "columns", "vectors"],
)
def test_a_batch_is_interleaved_if_nothing_lies_between_its_pixels_and_it_is_not_planes(
    images: torch.Tensor, expected: bool
) -> None:
    assert are_interleaved(images) is expected


def test_a_batch_of_planes_is_one_of_planes() -> None:
    assert batch_of_one(planes()).is_contiguous()
