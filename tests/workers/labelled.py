"""Small labelled pictures and recipes for the tests of segmentation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from pixelmill.workers.codecs.encode import encode_png
from pixelmill.workers.recipes import Sample
from pixelmill.workers.recipes.registry import recipe_type
from pixelmill.workers.recipes.segmentation.labels import VOID

NAMES = ("sky", "road", "kiosk")


CLASSES = json.dumps({"classes": NAMES, "ignore_index": 11}).encode()


SLIM: dict[str, dict[str, Any]] = {
    "fcn": {"width": 2, "fc_width": 8, "batch": 4},
    "segnet": {"width": 2, "batch": 4, "class_weights": "none"},
    "unet": {"base": 2, "levels": 2, "batch": 4},
}


def recipe(name: str = "fcn", assets: dict[str, Path] | None = None, **settings: Any) -> Any:
    kind = cast(Any, recipe_type(name))
    return kind(kind.Settings(**SLIM[name] | settings), assets or {})


def ids(height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    """Blocks of 8 px of the three classes, and a frame of void."""
    coarse_HW = np.random.default_rng(seed).integers(0, 3, (-(-height // 8), -(-width // 8)), np.uint8)
    ids_HW = np.kron(coarse_HW, np.ones((8, 8), np.uint8))[:height, :width]
    ids_HW[:2] = VOID
    return ids_HW


def sample(height: int = 48, width: int = 64, seed: int = 0) -> Sample:
    """A picture whose colours tell the ids: 100 times the id plus 20 in red, void too."""
    label_HW = ids(height, width, seed)
    image_HWC = np.full((height, width, 3), 30, np.uint8)
    image_HWC[..., 0] = np.where(label_HW == VOID, 220, 100 * label_HW.astype(int) % 256 + 20)
    return {"image": image_HWC, "label": label_HW, "classes": np.frombuffer(json.dumps(NAMES).encode(), np.uint8)}


def samples(count: int = 4, **size: int) -> list[Sample]:
    return [sample(seed=seed, **size) for seed in range(count)]


def files(label_HW: np.ndarray | None = None, **more: bytes) -> dict[str, bytes]:
    image_HWC = sample()["image"]
    label_HW = np.where(ids() == VOID, 11, ids()).astype(np.uint8) if label_HW is None else label_HW
    return {"image": encode_png(image_HWC), "label": encode_png(label_HW), "classes": CLASSES} | more


def agreement(red_HW: np.ndarray, label_HW: np.ndarray) -> float:
    """Share of the pixels whose red is nearest to that of their id; blended ones at the edges of blocks are not."""
    reds = np.array([20, 120, 220])
    inside = label_HW != VOID
    return float((np.abs(red_HW[inside][:, None] - reds).argmin(1) == label_HW[inside]).mean())


class Says(nn.Module):
    """Says what the red of a picture tells, but for what `mistake` makes of it."""

    def __init__(self, mistake: dict[int, int] | None = None) -> None:
        super().__init__()
        self.config = type("Config", (), {"classes": 3})()
        self.reds_K111 = nn.Parameter(torch.tensor([20, 120, 220]).view(3, 1, 1) / 255)
        self.mistake = mistake or {}

    def forward(self, images_BCHW: Tensor) -> Tensor:
        logits_BKHW = -(images_BCHW[:, :1] - self.reds_K111).abs()
        said_BHW = logits_BKHW.argmax(1)
        for true, said in self.mistake.items():
            said_BHW[logits_BKHW.argmax(1) == true] = said
        return nn.functional.one_hot(said_BHW, 3).permute(0, 3, 1, 2).float()
