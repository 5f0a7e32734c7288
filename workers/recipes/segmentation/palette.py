"""The colour in which a class of pixels is shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CAMVID_COLOURS: dict[str, tuple[int, int, int]] = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign_symbol": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}


def palette(names: Sequence[str]) -> np.ndarray:
    """Red, green and blue by id, uint8 (256, 3): CamVid's for its classes, Pascal VOC's for others, black for void."""
    colours = np.zeros((256, 3), np.uint8)
    for number, name in enumerate(names):
        colours[number] = CAMVID_COLOURS.get(name, _voc_colour(number + 1))
    return colours


def _voc_colour(number: int) -> tuple[int, int, int]:
    """The number's bits dealt out to the three channels in turn, the first to the highest bits."""
    levels = [0, 0, 0]
    for bit in range(8):
        levels[bit % 3] |= (number >> bit & 1) << (7 - bit // 3)
    return levels[0], levels[1], levels[2]
