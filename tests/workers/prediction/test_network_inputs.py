"""What a network sees of a picture for a calibration: padded as for its stage, of bounded size."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from pixelmill.workers.models.picture_model import PictureModel, SizeFacts
from pixelmill.workers.prediction.network_inputs import MOST_SIDE_PX, normalized, seen_by

MODEL = PictureModel("segment", nn.Identity(), (0.5,) * 3, (0.25,) * 3, SizeFacts(multiple_px=8, least_px=16), "0" * 64)


def picture(height: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_a_small_picture_is_padded_and_keeps_its_pixels() -> None:
    seen = seen_by(MODEL, picture(10, 21))
    assert seen.shape == (3, 16, 24)
    assert torch.equal(seen[:, :10, :21], picture(10, 21))


def test_of_a_large_one_the_middle_is_seen() -> None:
    large = picture(700, 600)
    assert torch.equal(seen_by(MODEL, large), large[:, 94 : 94 + MOST_SIDE_PX, 44 : 44 + MOST_SIDE_PX])


def test_a_network_of_one_size_sees_the_whole_picture_in_it() -> None:
    model = replace(MODEL, size=SizeFacts(resize_px=(32, 64)))
    assert seen_by(model, picture(700, 600)).shape == (3, 32, 64)


def test_a_network_of_grey_pictures_sees_one_channel() -> None:
    assert seen_by(replace(MODEL, mean=(0.0,), std=(1.0,)), picture(16, 16)).shape == (1, 16, 16)


def test_the_input_is_normalized_as_float32() -> None:
    made = normalized(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8), (0.5,) * 3, (0.25,) * 3)
    assert torch.equal(made, torch.full((1, 3, 2, 2), 2.0))
