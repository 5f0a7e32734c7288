"""The display colours of classes of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import numpy as np

from pixelmill.workers.models.picture_model import Colour

BACKGROUNDS = {"background", "__background__"}

CAMVID_COLOURS: dict[str, Colour] = {
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


def class_colours(names: Sequence[str]) -> tuple[Colour, ...]:
    """Red, green and blue by id: CamVid's colours for its classes, Pascal VOC's for others, where only a background is black."""
    taken = {CAMVID_COLOURS[name] for name in names if name in CAMVID_COLOURS}
    first = 0 if names and names[0] in BACKGROUNDS else 1
    others = (colour for number in count(first) if (colour := _voc_colour(number)) not in taken)
    return tuple(CAMVID_COLOURS[name] if name in CAMVID_COLOURS else next(others) for name in names)


def palette(names: Sequence[str]) -> np.ndarray:
    """The colours of the classes as uint8 (256, 3), black for void."""
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(names)] = class_colours(names)
    return colours


def _voc_colour(number: int) -> Colour:
    """Distribute the bits of the number over the three channels in turn, the first ones to the highest bits."""
    levels = [0, 0, 0]
    for bit in range(8):
        levels[bit % 3] |= (number >> bit & 1) << (7 - bit // 3)
    return levels[0], levels[1], levels[2]
