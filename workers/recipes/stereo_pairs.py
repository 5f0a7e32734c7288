"""Read rectified stereo pairs with their LiDAR depth and camera, and augment both views alike.

Legend: B batch, C = 3 colours, H height, W width, V = 256 values.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from pydantic import JsonValue
from torch import Tensor

from pixelmill.workers.codecs.decode import MAX_PIXELS
from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes import Sample
from pixelmill.workers.typed_torch import from_numpy

CAMERA = ("width_px", "focal_px", "baseline_m", "depth_png_scale")


def decode_depth(data: bytes) -> np.ndarray:
    """The values of a 16-bit PNG, uint16 HW, 0 without a LiDAR return; `decode_picture` would keep only 8 bits."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            if not picture.mode.startswith("I;16"):
                raise DataError(f"depth: a PNG of mode {picture.mode}; write depth as 16-bit grey PNG, metres x 256")
            if picture.width * picture.height > MAX_PIXELS:
                raise DataError(f"depth: {picture.width} x {picture.height} pixels are over {MAX_PIXELS:,}; cut it")
            return np.asarray(picture).astype(np.uint16)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"depth: not a whole PNG ({error}); write depth as 16-bit grey PNG, metres x 256") from error


def read_camera(files: Mapping[str, bytes]) -> np.ndarray:
    """Width in pixels, focal length in pixels of that width, baseline in metres, depth value of a metre: float64."""
    if "calibration" not in files:
        raise DataError("depth without calib.json; give width_px, focal_px and baseline_m of the cameras")
    try:
        calibration = json.loads(files["calibration"])
    except ValueError as error:
        raise DataError(
            f"calib.json: not JSON ({error}); write width_px, focal_px and baseline_m as numbers"
        ) from error
    if not isinstance(calibration, dict):
        raise DataError("calib.json: not a mapping; write width_px, focal_px and baseline_m as numbers")
    document = cast("dict[str, JsonValue]", calibration)
    stated = {name: document.get(name) for name in CAMERA[:-1]} | {CAMERA[-1]: _depth_png_scale(document)}
    return np.array([_positive(name, value) for name, value in stated.items()], dtype=np.float64)


def _positive(name: str, value: JsonValue) -> float:
    if not isinstance(value, int | float) or not value > 0:
        raise DataError(f"calib.json: {name} is {value!r}; write a number over 0")
    return value


def _depth_png_scale(calibration: Mapping[str, JsonValue]) -> JsonValue:
    """The depth value of a metre, a number or a text such as "value / 256"; 256, as in KITTI, if none is stated."""
    stated = calibration.get(CAMERA[-1], 256)
    divisor = re.search(r"/\s*(\d+(\.\d+)?)", stated) if isinstance(stated, str) else None
    return float(divisor[1]) if divisor else stated


def depth_of(sample: Sample) -> np.ndarray:
    """Metres, float32 HW, 0 without a LiDAR return."""
    return sample["depth"].astype(np.float32) / np.float32(sample["camera"][3])


def to_input(pixels_HWC: np.ndarray) -> Tensor:
    """From uint8 HWC to the network's input: float32 CHW in [0, 1]."""
    return from_numpy(pixels_HWC).permute(2, 0, 1).float() / 255


def cropped_pair(left_CHW: Tensor, right_CHW: Tensor, smallest: float, draws: np.ndarray) -> tuple[Tensor, Tensor]:
    """One window of both views, resized to the whole: its side is `smallest` to 1 of the picture's. Three numbers in [0, 1).

    A window at the same place leaves the pair rectified, and disparities in fractions of its width fit its larger objects.
    """
    height, width = left_CHW.shape[-2:]
    kept = 1 - draws[0] * (1 - smallest)
    rows, columns = (max(1, round(side * kept)) for side in (height, width))
    top, left = (
        int(draw * (side - part + 1)) for draw, side, part in ((draws[1], height, rows), (draws[2], width, columns))
    )
    pair_2CHW = torch.stack([left_CHW, right_CHW])[..., top : top + rows, left : left + columns]
    first_CHW, second_CHW = F.interpolate(pair_2CHW, (height, width), mode="bilinear", align_corners=False)
    return first_CHW, second_CHW


def mirrored_pair(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """The mirrored pair: mirroring exchanges left and right, so the views are swapped."""
    return right.flip(-1), left.flip(-1)


def unchanged_colours() -> Tensor:
    """What each uint8 value becomes, C x 256: its share of 255."""
    return (torch.arange(256).float() / 255).expand(3, -1)


def recoloured(draws: np.ndarray) -> Tensor:
    """What each uint8 value of each colour becomes, C x 256, by five numbers in [0, 1); both views get the same.

    Gamma 0.8 to 1.2, brightness 0.5 to 2, each colour 0.8 to 1.2. A table costs 256 powers, not one for each pixel.
    """
    gamma, brightness = 0.8 + 0.4 * draws[0], 0.5 + 1.5 * draws[1]
    colours_C1 = from_numpy(0.8 + 0.4 * draws[2:5]).float()[:, None]
    return (unchanged_colours() ** gamma * brightness * colours_C1).clamp(0, 1)


def looked_up(pixels_BCHW: Tensor, tables_BCV: Tensor) -> Tensor:
    """The floats in the tables for uint8 pixels; each picture and colour has its own table."""
    batch, colours, values = tables_BCV.shape
    starts_BC = (
        torch.arange(batch * colours, dtype=torch.int32, device=pixels_BCHW.device).view(batch, colours) * values
    )
    places_BCHW = pixels_BCHW.int().add_(starts_BC[:, :, None, None])
    return tables_BCV.flatten().index_select(0, places_BCHW.flatten()).view_as(places_BCHW)
