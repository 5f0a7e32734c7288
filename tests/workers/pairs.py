"""Stereo pairs, networks that know their disparity, and KITTI, for the tests of Monodepth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pixelmill.workers.losses.stereo import stereo_losses
from pixelmill.workers.models.checkpoint import save_checkpoint
from pixelmill.workers.networks.monodepth import Monodepth, MonodepthConfig
from pixelmill.workers.recipes import Sample
from pixelmill.workers.recipes.monodepth import MonodepthRecipe, MonodepthSettings
from tests.shared_data import SHARED_DATA
from tests.workers.saved import make_card

KITTI = SHARED_DATA / "stereo" / "kitti"


SLIM = MonodepthConfig(width=4, size_px=(64, 128))


HEIGHT, WIDTH, SHIFT_PX = 32, 128, 6


DISPARITY = SHIFT_PX / WIDTH


CALIBRATION = {"width_px": 512, "focal_px": 300.0, "baseline_m": 0.5, "depth_png_scale": 256}


def recipe(**changes: object) -> MonodepthRecipe:
    settings = {"width": 4, "height_px": 64, "width_px": 128, **changes}
    return MonodepthRecipe(MonodepthSettings.model_validate(settings), {})


def seeded_network(seed: int = 0, config: MonodepthConfig = SLIM) -> Monodepth:
    torch.manual_seed(seed)
    return Monodepth(config)


def random_views(
    seed: int = 0, height: int = HEIGHT, width: int = WIDTH, shift_px: int = SHIFT_PX
) -> tuple[Tensor, Tensor]:
    """A left and a right view BCHW of a texture that stands `shift_px` apart in them."""
    texture_BCHW = torch.rand(1, 3, height, width + shift_px, generator=torch.Generator().manual_seed(seed))
    texture_BCHW = functional.avg_pool2d(texture_BCHW, 3, 1, 1)
    return texture_BCHW[..., :width], texture_BCHW[..., shift_px:]


def constant(disparity: float, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    return torch.full((1, 2, height, width), disparity)


def sample_of(disparity: float, depth_m: float = 10.0) -> Sample:
    """A pair whose texture has this disparity, with LiDAR everywhere that says `depth_m`."""
    left_BCHW, right_BCHW = random_views(height=64, shift_px=round(disparity * WIDTH))
    pixels = {"left": left_BCHW, "right": right_BCHW}
    sample = {view: (value[0].permute(1, 2, 0) * 255).round().byte().numpy() for view, value in pixels.items()}
    camera = np.array(list(CALIBRATION.values()), dtype=np.float64)
    return {**sample, "depth": np.full((50, 160), round(depth_m * 256), dtype=np.uint16), "camera": camera}


def photometric_at(disparity: float, left_BCHW: Tensor, right_BCHW: Tensor) -> float:
    return stereo_losses(left_BCHW, right_BCHW, [constant(disparity)])["photometric"].item()


def kitti(*numbers: int) -> list[Sample]:
    calibration = (KITTI / "calib.json").read_bytes()
    folders: dict[str, Callable[[str], Path]] = {
        "left": lambda name: next((KITTI / "left").glob(f"{name}.*")),
        "right": lambda name: next((KITTI / "right").glob(f"{name}.*")),
        "depth": lambda name: KITTI / "depth" / f"{name}.png",
    }
    chosen = recipe(height_px=160, width_px=512)
    return [
        chosen.decode(
            {**{kind: at(f"{n:06}").read_bytes() for kind, at in folders.items()}, "calibration": calibration}
        )
        for n in numbers
    ]


def saved_network(folder: Path, network: Monodepth | None = None, data: str = "made up") -> str:
    """A small checkpoint of Monodepth on disk."""
    network = network or seeded_network()
    config = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(network.config).items()}
    card = make_card(network="monodepth", recipe="monodepth", config=config, settings={}, data=data, preprocess=None)
    save_checkpoint(folder / "pairs.safetensors", network, card)
    return str(folder / "pairs.safetensors")
