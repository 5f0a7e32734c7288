"""The crop is torchvision's, to the bit or within one grey level, at any aspect."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification

from pixelmill.workers.geometry.resize import MAX_ASPECT, center_crop, resize_shorter_side
from tests.corpus import photo
from tests.pixels import as_pixels, distance


def preset(pixels_CHW: torch.Tensor | Image.Image, resize_px: int, crop_px: int, interpolation: str) -> torch.Tensor:
    """torchvision's classification preset, its mean and deviation left out, back in grey levels."""
    mode = InterpolationMode(interpolation)
    transform = ImageClassification(
        crop_size=crop_px, resize_size=resize_px, interpolation=mode, mean=(0, 0, 0), std=(1, 1, 1)
    )
    return (transform(pixels_CHW) * 255).round().to(torch.uint8)


def ours(
    pixels_CHW: torch.Tensor, resize_px: int, crop_px: int, interpolation: str, *, exact: bool = True
) -> torch.Tensor:
    resized_CHW = resize_shorter_side(pixels_CHW, resize_px, interpolation, exact=exact)  # pyright: ignore
    return center_crop(resized_CHW, crop_px)


SIZES = [
    (500, 375),
    (375, 500),
    (256, 256),
    (224, 300),
    (40, 30),
    (1, 1),
    (1, 40),
    (333, 257),
    (64, 1),
    (3, 190),
    (1200, 900),
]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("resize_px", "crop_px"), [(256, 224), (232, 224), (33, 20), (20, 33), (64, 64)])
def test_the_crop_is_the_presets_bit_for_bit(
    size: tuple[int, int], resize_px: int, crop_px: int, interpolation: str
) -> None:
    pixels_CHW = as_pixels(photo(width=size[0], height=size[1]))
    cropped_CHW = ours(pixels_CHW, resize_px, crop_px, interpolation)
    assert cropped_CHW.shape == (3, crop_px, crop_px)
    assert cropped_CHW.permute(1, 2, 0).is_contiguous()
    assert torch.equal(cropped_CHW, preset(pixels_CHW, resize_px, crop_px, interpolation))


@pytest.mark.parametrize("size", SIZES[:6], ids=str)
def test_the_integer_crop_is_within_one_grey_level_of_the_presets(size: tuple[int, int]) -> None:
    picture = photo(width=size[0], height=size[1])
    cropped_CHW = ours(as_pixels(picture), 256, 224, "bilinear", exact=False)
    assert distance(cropped_CHW, preset(as_pixels(picture), 256, 224, "bilinear")).max() <= 1
    on_pil = distance(cropped_CHW, preset(picture, 256, 224, "bilinear"))
    assert on_pil.max() <= 1
    assert on_pil.mean() < 0.006


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("long", [100, 101, 102, 103])
def test_beyond_the_longest_aspect_a_line_still_gives_the_presets_crop(long: int, interpolation: str) -> None:
    for size_px, crop_px in ((32, 28), (33, 28), (32, 27)):
        for pixels_CHW in (as_pixels(photo(width=long, height=1)), as_pixels(photo(width=1, height=long))):
            expected_CHW = preset(pixels_CHW, size_px, crop_px, interpolation)
            assert distance(ours(pixels_CHW, size_px, crop_px, interpolation), expected_CHW).max() <= 1


def test_an_extreme_aspect_does_not_explode() -> None:
    for size in ((1, 30_000), (30_000, 1), (2, 100_001)):
        pixels_CHW = torch.zeros(3, *size, dtype=torch.uint8)
        resized_CHW = resize_shorter_side(pixels_CHW, 256)
        assert resized_CHW.numel() <= 3 * 256 * 256 * (MAX_ASPECT + 3)
        assert min(resized_CHW.shape[1:]) == 256
        assert center_crop(resized_CHW, 224).shape == (3, 224, 224)
