"""The crop is torchvision's, to the bit or within one grey level, at any aspect."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification

from pixelmill.workers.geometry.resize import (
    MAX_ASPECT,
    Interpolation,
    center_crop,
    central_area,
    resize_shorter_side,
    shrink_to_fit,
    stretch,
)
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


def slope(height: int, width: int) -> torch.Tensor:
    """Grey levels that rise evenly to the right in the first channel and downwards in the second, from 0 to 240."""
    across_W, down_H = torch.linspace(0, 240, width), torch.linspace(0, 240, height)
    pixels_CHW = torch.stack([across_W.expand(height, width), down_H[:, None].expand(height, width)])
    return torch.cat([pixels_CHW, pixels_CHW[:1]]).round().to(torch.uint8)


def test_a_stretched_picture_keeps_its_edges_and_not_its_aspect() -> None:
    stretched_CHW = stretch(slope(60, 90), (128, 64))
    assert stretched_CHW.shape == (3, 128, 64)
    assert stretched_CHW[0, :, 0].max() <= 3
    assert stretched_CHW[0, :, -1].min() >= 237
    assert stretched_CHW[1, 0].max() <= 3
    assert stretched_CHW[1, -1].min() >= 237


@pytest.mark.parametrize(("height", "width"), [(60, 300), (300, 60), (48, 64), (1, 1), (1, 70), (700, 3)])
def test_the_central_area_is_as_large_as_its_aspect_allows_and_in_the_middle(height: int, width: int) -> None:
    area_CHW = central_area(slope(height, width), (48, 64))
    assert area_CHW.shape == (3, 48, 64)
    if min(height, width) > 1:
        assert area_CHW.float().mean(dim=(1, 2))[:2].tolist() == pytest.approx([120, 120], abs=2)
    shares = [min(1, height * 64 / 48 / width), min(1, width * 48 / 64 / height)]
    for channel, share in enumerate(shares):
        seen = int(area_CHW[channel].max()) - int(area_CHW[channel].min())
        assert min(height, width) < 8 or seen == pytest.approx(240 * share, abs=6)


@pytest.mark.parametrize(
    ("size", "fitted"), [((20, 32), (20, 32)), ((64, 32), (32, 16)), ((33, 5), (32, 5)), ((640, 1), (32, 1))]
)
def test_a_picture_is_made_smaller_only_where_it_does_not_fit(size: tuple[int, int], fitted: tuple[int, int]) -> None:
    assert shrink_to_fit(slope(*size), 32).shape == (3, *fitted)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("new_HW", [(256, 341), (100, 130), (518, 690), (1, 3), (375, 40)], ids=str)
def test_interleaved_pixels_are_resized_as_planes_are_and_stay_interleaved(
    new_HW: tuple[int, int], interpolation: Interpolation
) -> None:
    pixels_CHW = as_pixels(photo(width=500, height=375))
    crop_CHW = pixels_CHW[:, 20:320, 30:470]
    for interleaved_CHW in (pixels_CHW, crop_CHW):
        made_CHW = stretch(interleaved_CHW, new_HW, interpolation)
        assert torch.equal(made_CHW, stretch(interleaved_CHW.contiguous(), new_HW, interpolation))
        assert made_CHW.permute(1, 2, 0).is_contiguous()
