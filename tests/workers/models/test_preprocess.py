"""Each way to fit a picture gives the network's size for any picture, and grey pixels for a grey network."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from pixelmill.workers.errors import ModelError
from pixelmill.workers.geometry.grey import to_grey
from pixelmill.workers.geometry.resize import center_crop, resize_shorter_side, stretch
from pixelmill.workers.models.preprocess import Fit, Preprocess, require_input


def made(fit: Fit, size_px: int | tuple[int, int] = 32, channels: int = 3) -> Preprocess:
    return Preprocess(32, size_px, "bilinear", (0.0,) * channels, (1.0,) * channels, fit)


def noise(height: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("fit", get_args(Fit))
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (1, 900), (41, 7), (32, 32), (300, 200)])
def test_every_picture_comes_out_at_the_size_of_the_network(fit: Fit, channels: int, size: tuple[int, int]) -> None:
    fitted_CHW = made(fit, channels=channels).applied_to(noise(*size))
    assert (fitted_CHW.shape, fitted_CHW.dtype) == ((channels, 32, 32), torch.uint8)


@pytest.mark.parametrize("fit", ["central area", "stretch"])
def test_height_and_width_may_differ(fit: Fit) -> None:
    assert made(fit, (20, 50)).applied_to(noise(99, 33)).shape == (3, 20, 50)
    assert made(fit, (20, 50)).size_px == (20, 50)
    assert made(fit, 32).size_px == (32, 32)


def test_luma_is_taken_before_the_picture_is_resized_and_of_grey_pictures_not_at_all() -> None:
    pixels_CHW = noise(64, 48)
    grey_1HW = to_grey(pixels_CHW)
    expected_1HW = center_crop(resize_shorter_side(grey_1HW, 32, exact=False), 32)
    assert torch.equal(made("centre crop", channels=1).applied_to(pixels_CHW), expected_1HW)
    assert torch.equal(made("centre crop", channels=1).applied_to(grey_1HW), expected_1HW)


def test_each_fit_shows_the_part_that_it_says() -> None:
    pixels_CHW = torch.full((3, 32, 96), 200, dtype=torch.uint8)
    pixels_CHW[:, :, :32], pixels_CHW[:, :, 64:] = 10, 10  # dark, bright, dark
    assert made("centre crop").applied_to(pixels_CHW).min() == 200
    assert made("central area").applied_to(pixels_CHW).min() == 200
    assert torch.equal(made("stretch").applied_to(pixels_CHW), stretch(pixels_CHW, (32, 32)))
    padded_CHW = made("pad").applied_to(pixels_CHW)
    assert padded_CHW[:, :10].max() == padded_CHW[:, -10:].max() == 0
    assert padded_CHW[:, 16, 16].min() == 200
    assert padded_CHW[:, 16, 2].max() == 10


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (Preprocess(224, 5000, "bilinear", (0.5,), (0.5,)), "sees pictures of 5,000 px"),
        (Preprocess(0, 224, "bilinear", (0.5,), (0.5,)), "sees pictures of 0 px"),
        (Preprocess(256, (64, 1 << 20), "bilinear", (0.5,), (0.5,), "stretch"), "sees pictures of 1,048,576 px"),
        (Preprocess(256, 224, "bilinear", (0.5,), (1e-300,)), "std is 1e-300"),
    ],
)
def test_an_input_that_no_network_has_is_refused(wrong: Preprocess, words: str) -> None:
    with pytest.raises(ModelError, match=f"model timm:x: .*{words}"):
        require_input("timm:x", wrong)
    fine = Preprocess(256, 224, "bilinear", (0.5,), (0.5,))
    assert require_input("timm:x", fine) is fine
