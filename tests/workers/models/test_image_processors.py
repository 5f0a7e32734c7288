"""The laws of image processors: preprocessing from their config equals their own output, up to the rounding of a resize.

Legend: C channels, H height, W width.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from pixelmill.workers.errors import ModelError
from pixelmill.workers.geometry.resize import center_crop, resize_shorter_side, stretch
from pixelmill.workers.models.image_processors import KINDS, Processing, processing_of
from pixelmill.workers.models.picture_model import SizeFacts
from pixelmill.workers.prediction.sizes import seen_size


def picture() -> Tensor:
    coarse_BCHW = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(0)) * 255
    return torch.nn.functional.interpolate(coarse_BCHW, (90, 120), mode="bicubic").clamp(0, 255).byte()[0]


def processed(pixels_CHW: Tensor, wanted: Processing) -> Tensor:
    if isinstance(wanted.resize_px, tuple):
        pixels_CHW = stretch(pixels_CHW, wanted.resize_px, wanted.interpolation)
    elif wanted.resize_px is not None:
        pixels_CHW = resize_shorter_side(pixels_CHW, wanted.resize_px, wanted.interpolation)
    if wanted.crop_px is not None:
        pixels_CHW = center_crop(pixels_CHW, wanted.crop_px[0])
    pixels_CHW = pixels_CHW.flip(0) if wanted.flips_channels else pixels_CHW
    mean_C11, std_C11 = (torch.tensor(each).view(-1, 1, 1) for each in (wanted.mean, wanted.std))
    return (pixels_CHW / 255 - mean_C11) / std_C11


CHANGES: dict[str, dict[str, Any]] = {
    "ZoeDepth": {
        "do_pad": False,
        "size": {"height": 64, "width": 64},
        "keep_aspect_ratio": False,
        "ensure_multiple_of": 1,
    },
    "ConvNext": {"size": {"shortest_edge": 64}},
    "Mask2Former": {"size": {"shortest_edge": 64, "longest_edge": 800}, "size_divisor": 1},
    "MaskFormer": {"size": {"shortest_edge": 64, "longest_edge": 800}, "size_divisor": 1},
    "GLPN": {"size_divisor": 1},
    "Levit": {"size": {"shortest_edge": 56}, "crop_size": {"height": 48, "width": 48}},
    "MobileViT": {"size": {"shortest_edge": 72}, "crop_size": {"height": 64, "width": 64}},
    "ViT": {"rescale_factor": 1 / 127.5, "image_mean": [1, 1, 1], "image_std": [1, 1, 1]},
    "Siglip": {"do_rescale": False},
    "DPT": {"do_normalize": False},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_prepared_as_by_the_processor_itself(kind: str, tmp_path: Path) -> None:
    processor = getattr(transformers, f"{kind}ImageProcessor")(**CHANGES.get(kind, {}))
    processor.save_pretrained(tmp_path)
    expected = processor(picture(), return_tensors="pt")["pixel_values"][0]
    found = processing_of("m", tmp_path)
    made = processed(picture(), found)
    assert made.shape == expected.shape
    grey_level = 1 / (255 * min(found.std))
    # ZoeDepth resizes without antialiasing and with its corners aligned; the house has one way to resize.
    assert (made - expected).abs().quantile(0.99) <= (12 if kind == "ZoeDepth" else 1.01) * grey_level


def test_older_configs_and_nested_ones_are_read(tmp_path: Path) -> None:
    old = {
        "feature_extractor_type": "ViTFeatureExtractor",
        "size": 32,
        "resample": 2,
        "image_mean": [0.5],
        "image_std": [0.25],
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(old))
    assert processing_of("m", tmp_path) == Processing((0.5,), (0.25,), (32, 32), None, "bilinear")
    crop = {"feature_extractor_type": "CLIPFeatureExtractor", "size": 40, "crop_size": 32, "do_center_crop": True}
    normal = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (tmp_path / "preprocessor_config.json").unlink()
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": crop | normal}))
    assert processing_of("m", tmp_path) == Processing((0.5,) * 3, (0.5,) * 3, 40, (32, 32), "bicubic")


VIT = {"image_processor_type": "ViTImageProcessor", "size": 32, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            {"image_processor_type": "OtherImageProcessor"},
            "its image processor is OtherImageProcessor, which is not known here",
        ),
        ({}, "its image processor is nothing, which is not known here"),
        (VIT | {"resample": 1}, "resized by Pillow's filter 1; bilinear"),
        (VIT | {"do_flip_channel_order": True}, "states do_flip_channel_order, which is not done here"),
        (VIT | {"size": 1 << 20}, "states a size of 1048576"),
        (VIT | {"size": {"longest_edge": 32}}, "resizes the longer side alone, to 32, which is not done here"),
        (VIT | {"rescale_factor": 1e-300}, "has a rescale_factor of 1e-300"),
        (VIT | {"size": {"height": 32}}, "states a size of None"),
        (VIT | {"image_mean": "dark"}, "image_mean of its image processor is no list of one or three numbers"),
        (VIT | {"image_std": [1, 1, 0]}, "normalizes by image_mean and image_std: std is 0; a deviation"),
        ({"image_processor_type": "ViTImageProcessor", "size": 32}, "does not state image_mean"),
    ],
)
def test_what_is_not_known_is_refused(config: dict[str, Any], words: str, tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError) as raised:
        processing_of("m", tmp_path)
    assert words in str(raised.value)


def test_a_folder_without_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no preprocessor_config\.json, which says how pictures are resized"):
        processing_of("m", tmp_path)


@pytest.mark.parametrize("size", [(90, 120), (60, 240), (300, 50)])
def test_the_longer_side_has_the_bound_of_the_processor(size: tuple[int, int], tmp_path: Path) -> None:
    stated: dict[str, Any] = {"size": {"shortest_edge": 64, "longest_edge": 128}, "size_divisor": 1, "do_pad": False}
    processor = transformers.Mask2FormerImageProcessor(**stated)
    processor.save_pretrained(tmp_path)
    expected = processor(torch.zeros(3, *size, dtype=torch.uint8), return_tensors="pt")["pixel_values"][0]
    found = processing_of("m", tmp_path)
    facts = SizeFacts(resize_px=found.resize_px, longest_px=found.longest_px)
    made = seen_size(size, facts, 1 << 30)
    assert max(abs(side - wanted) for side, wanted in zip(made, expected.shape[1:], strict=True)) <= 1  # rounded there
