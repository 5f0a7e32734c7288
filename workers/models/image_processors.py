"""The preprocessing of a model of transformers, read from the config of its image processor. Imports no torch.

Only the config is read: the processors themselves work picture by picture and take seconds to import.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from pydantic import JsonValue

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.folders import read_json, require_inside
from pixelmill.workers.models.normalization import MOST_SIDE_PX, fault_of

if TYPE_CHECKING:
    from pixelmill.workers.geometry.resize import Interpolation

FILES = ("preprocessor_config.json", "processor_config.json")
INTERPOLATIONS: dict[int, Interpolation] = {2: "bilinear", 3: "bicubic"}
"""Interpolation by its number in Pillow."""

BICUBIC, BILINEAR = 3, 2
LEAST_FACTOR = 1e-5
Side = Literal["both", "shorter"]
KINDS: dict[str, tuple[Side, int]] = {
    "Beit": ("both", BICUBIC),
    "Bit": ("shorter", BICUBIC),
    "CLIP": ("shorter", BICUBIC),
    "ConvNext": ("shorter", BICUBIC),
    "DINOv3ViT": ("both", BILINEAR),
    "DPT": ("both", BICUBIC),
    "DeiT": ("both", BICUBIC),
    "GLPN": ("both", BILINEAR),
    "Levit": ("shorter", BICUBIC),
    "Mask2Former": ("shorter", BILINEAR),
    "MaskFormer": ("shorter", BILINEAR),
    "MobileNetV1": ("shorter", BILINEAR),
    "MobileNetV2": ("shorter", BILINEAR),
    "MobileViT": ("shorter", BICUBIC),
    "Pvt": ("both", BICUBIC),
    "Segformer": ("both", BILINEAR),
    "Siglip": ("both", BICUBIC),
    "ViT": ("both", BILINEAR),
    "ZoeDepth": ("both", BILINEAR),
}
"""By the name without `ImageProcessor`: the side that a size of one number refers to, and the default interpolation."""


@dataclass(frozen=True)
class Processing:
    """Resize, crop in the centre, then (pixels / 255 - mean) / std."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize_px: int | tuple[int, int] | None
    """The shorter side, or height and width; None: not resized."""
    crop_px: tuple[int, int] | None
    interpolation: Interpolation
    multiple_px: int = 1
    longest_px: int | None = None
    """Where the longer side would be more, both are smaller; None: no bound."""
    flips_channels: bool = False
    """Whether the network takes blue, green and red."""


def processing_of(model: str, folder: Path) -> Processing:
    """ModelError if the folder has no config of an image processor, or one of an unknown kind."""
    config = _config(model, folder)
    kind = _kind(model, config)
    side, resample = KINDS[kind]
    resize_px, crop_px = _sizes(model, config, side)
    if kind == "ConvNext":
        resize_px, crop_px = _convnext(model, config)
    if kind == "Levit" and isinstance(resize_px, int):
        resize_px = int(256 / 224 * resize_px)
    mean, std = _normalization(model, config)
    number = config.get("resample")
    number = number if isinstance(number, int) else resample
    if number not in INTERPOLATIONS:
        raise ModelError(
            f"model {model}: its pictures were resized by Pillow's filter {number}; bilinear (2) and bicubic (3) are known here"
        )
    return Processing(
        mean,
        std,
        resize_px,
        crop_px,
        INTERPOLATIONS[number],
        _multiple(config),
        longest_px=_longest(model, config) if isinstance(resize_px, int) else None,
        flips_channels=kind == "MobileViT" and bool(config.get("do_flip_channel_order", True)),
    )


def _config(model: str, folder: Path) -> dict[str, JsonValue]:
    for name in FILES:
        if (folder / name).is_file():
            config = read_json(model, require_inside(model, folder, folder / name))
            nested = config.get("image_processor")
            return nested if isinstance(nested, dict) else config
    raise ModelError(f"model {model}: {folder} has no {FILES[0]}, which says how pictures are resized and normalized")


def _kind(model: str, config: dict[str, JsonValue]) -> str:
    stated = str(config.get("image_processor_type") or config.get("feature_extractor_type") or "nothing")
    kind = (
        stated.removesuffix("Fast").removesuffix("Pil").removesuffix("ImageProcessor").removesuffix("FeatureExtractor")
    )
    if kind not in KINDS:
        raise ModelError(
            f"model {model}: its image processor is {stated}, which is not known here; known are {', '.join(sorted(KINDS))}"
        )
    for flag in ("do_flip_channel_order", "rescale_offset"):
        if config.get(flag) and (kind, flag) != ("MobileViT", "do_flip_channel_order"):
            raise ModelError(
                f"model {model}: its image processor states {flag}, which is not done here; take another model"
            )
    return kind


def _sizes(
    model: str, config: dict[str, JsonValue], side: Side
) -> tuple[int | tuple[int, int] | None, tuple[int, int] | None]:
    crop_HW = _pair(model, config.get("crop_size")) if config.get("do_center_crop") else None
    if not config.get("do_resize", True):
        return None, crop_HW
    size = config.get("size")
    if size is None and "size_divisor" in config:  # each picture at its own size
        return None, crop_HW
    plain = size if side == "shorter" else None
    shorter = size.get("shortest_edge") if isinstance(size, dict) else plain
    if shorter is None and isinstance(size, dict) and "longest_edge" in size and not {"height", "width"} & size.keys():
        raise ModelError(
            f"model {model}: its image processor resizes the longer side alone, to {size['longest_edge']}, which is not done "
            "here; state shortest_edge beside longest_edge, or take another model"
        )
    if shorter is not None:
        return _side(model, shorter), crop_HW
    size_HW = _pair(model, size)
    return min(size_HW) if config.get("keep_aspect_ratio") else size_HW, crop_HW


def _longest(model: str, config: dict[str, JsonValue]) -> int | None:
    size = config.get("size")
    longest = size.get("longest_edge") if isinstance(size, dict) else config.get("max_size")
    return None if longest is None else _side(model, longest)


def _convnext(model: str, config: dict[str, JsonValue]) -> tuple[int | tuple[int, int], tuple[int, int] | None]:
    """Below 384 px, a crop from a somewhat larger resized picture; from 384 px, the whole picture resized to a square."""
    size = config.get("size")
    side_px = _side(model, size.get("shortest_edge") if isinstance(size, dict) else size)
    kept = config.get("crop_pct")
    share = float(kept) if isinstance(kept, int | float) and 0.1 < kept <= 1 else 224 / 256
    return ((side_px, side_px), None) if side_px >= 384 else (int(side_px / share), (side_px, side_px))


def _normalization(model: str, config: dict[str, JsonValue]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation for pixels in [0, 1], for any scale factor of the processor."""
    stated = config.get("rescale_factor")
    factor = float(stated) if isinstance(stated, int | float) else 1 / 255
    if not LEAST_FACTOR <= factor <= 1:
        raise ModelError(
            f"model {model}: its image processor has a rescale_factor of {factor:g}; it is 1 / 255 or near"
        )
    to_unit = 1 / (255 * (factor if config.get("do_rescale", True) else 1.0))
    if _normalizes(config) and "image_mean" in config:
        means, deviations = (_numbers(model, name, config.get(name)) for name in ("image_mean", "image_std"))
    elif _normalizes(config):
        raise ModelError(f"model {model}: its image processor normalizes pictures and does not state image_mean")
    else:
        means, deviations = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    mean, std = tuple(each * to_unit for each in means), tuple(each * to_unit for each in deviations)
    if (fault := fault_of(mean, std)) is not None:
        raise ModelError(f"model {model}: its image processor normalizes by image_mean and image_std: {fault}")
    return mean, std


def _normalizes(config: dict[str, JsonValue]) -> bool:
    kind = str(config.get("image_processor_type") or config.get("feature_extractor_type"))
    return bool(config.get("do_normalize", not kind.startswith(("GLPN", "MobileViT"))))


def _multiple(config: dict[str, JsonValue]) -> int:
    stated = [config.get(name) for name in ("size_divisor", "ensure_multiple_of") if config.get(name)]
    return max((each for each in stated if isinstance(each, int) and 1 <= each <= MOST_SIDE_PX), default=1)


def _numbers(model: str, name: str, value: JsonValue) -> tuple[float, ...]:
    numbers = value if isinstance(value, list) else [value]
    if len(numbers) not in {1, 3} or not all(isinstance(each, int | float) for each in numbers):
        raise ModelError(f"model {model}: {name} of its image processor is no list of one or three numbers")
    return tuple(float(cast("float", each)) for each in numbers)


def _pair(model: str, size: JsonValue) -> tuple[int, int]:
    if isinstance(size, dict):
        shorter = size.get("shortest_edge")
        return _side(model, size.get("height", shorter)), _side(model, size.get("width", shorter))
    if isinstance(size, list) and len(size) == 2:
        return _side(model, size[0]), _side(model, size[1])
    return _side(model, size), _side(model, size)


def _side(model: str, value: JsonValue) -> int:
    if not isinstance(value, int) or not 1 <= value <= MOST_SIDE_PX:
        raise ModelError(
            f"model {model}: its image processor states a size of {value}; a side has 1 to {MOST_SIDE_PX} px"
        )
    return value
