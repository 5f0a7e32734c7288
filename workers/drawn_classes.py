"""Palettes of classes, and conversion of a coloured layout to class ids. Imports no torch.

Legend: H height, W width, K classes, N pixels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, cast

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field

from pixelmill.workers.small_files import small_text

Level = Annotated[int, Field(ge=0, le=255)]
Colour = tuple[Level, Level, Level]
"""Red, green, blue."""

VOID = 255
"""The id of pixels without a class."""
MOST_CLASSES = VOID
NEAR_LEVELS = 40.0
"""Largest RGB distance between a pixel of a JPEG and the colour of its class."""

_PIXELS_AT_ONCE = 1 << 16


def _told_apart(palette: dict[str, Colour]) -> dict[str, Colour]:
    by_colour: dict[Colour, str] = {}
    for name, colour in palette.items():
        if colour in by_colour:
            raise ValueError(f"{by_colour[colour]} and {name} have the same colour, {list(colour)}; give each its own")
        by_colour[colour] = name
    return palette


Palette = Annotated[dict[str, Colour], Field(min_length=1, max_length=MOST_CLASSES), AfterValidator(_told_apart)]
"""Classes by id, in this order: their names and their colours."""


def _read(written: object) -> object:
    """The palette in a file or in JSON; any other value is returned unchanged."""
    if not isinstance(written, str):
        return written
    try:
        stated = json.loads(written if written.lstrip().startswith("{") else small_text(Path(written)))
    except OSError as error:
        raise ValueError(f"{written}: can't be read ({error.strerror}); {WRITE}") from error
    except ValueError as error:
        raise ValueError(f"{written}: is no JSON ({error}); {WRITE}") from error
    if not isinstance(stated, dict) or "classes" not in stated:
        return cast("object", stated)
    named = cast("Mapping[str, Sequence[object]]", stated)
    if len(named.get("colours", ())) != len(named["classes"]):
        raise ValueError(f"{written}: has not one entry of colours for each of its classes; {WRITE}")
    return dict(zip(cast("Sequence[str]", named["classes"]), named["colours"], strict=True))


WRITE = (
    'write {NAME: [red, green, blue], ...}, or a file as classes.json has it: {"classes": [names], "colours": '
    "[[red, green, blue], ...]}"
)

PaletteOrFile = Annotated[Palette, BeforeValidator(_read, json_schema_input_type=Palette | str)]
"""A palette, or the JSON file that contains it."""

FACADES: dict[str, Colour] = {
    "background": (0, 0, 223),
    "facade": (0, 48, 255),
    "window": (0, 128, 255),
    "door": (0, 207, 255),
    "cornice": (32, 255, 223),
    "sill": (112, 255, 143),
    "balcony": (191, 255, 64),
    "blind": (255, 239, 0),
    "deco": (255, 159, 0),
    "molding": (255, 80, 0),
    "pillar": (255, 0, 0),
    "shop": (175, 0, 0),
}
"""The classes of the CMP facades (Tylecek & Sara 2013) and their colours: every fifth colour of the old 64-step rainbow, as in
the version with photograph and layout side by side. A cornice is above a window, a sill below."""


def nearest_ids(
    drawn_HWC: np.ndarray, colours: Sequence[Colour], tolerance: float = NEAR_LEVELS
) -> tuple[np.ndarray, float]:
    """The class with the nearest colour, uint8 HW, and the share of pixels farther than `tolerance` from every colour.

    JPEG changes every colour slightly and mixes colours along borders, which can produce a rim, one pixel wide, of a third class.
    Assigning such pixels to a neighbour's class was tried; it removes objects that are two pixels wide.
    """
    table = _colours_met(tuple((red, green, blue) for red, green, blue in colours), tolerance)
    known_N = table.looked_up(drawn_HWC.reshape(-1, 3))
    foreign = int((known_N < 0).sum())
    return (np.abs(known_N) - 1).astype(np.uint8).reshape(drawn_HWC.shape[:2]), foreign / max(1, known_N.size)


def exact_ids(drawn_HWC: np.ndarray, colours: Sequence[Colour]) -> np.ndarray:
    """The class with exactly the colour of each pixel, uint8 HW; VOID where there is none."""
    table = _colours_met(tuple((red, green, blue) for red, green, blue in colours), 0.0)
    known_N = table.looked_up(drawn_HWC.reshape(-1, 3))
    return np.where(known_N > 0, known_N - 1, VOID).astype(np.uint8).reshape(drawn_HWC.shape[:2])


class _ColoursMet:
    """The nearest class of every colour that was met, found once for each.

    A layout has few colours, a JPEG of one some thousands, and a picture some hundred thousand pixels. The table has an entry for
    every colour of 24 bits, of which the system gives memory to those alone that are written: the id plus 1, negative where the
    colour is foreign, 0 where it was not met. Threads may fill it together, as they write the same.
    """

    def __init__(self, colours: Sequence[Colour], tolerance: float) -> None:
        self._colours_K3, self._tolerance = np.array(colours, np.float32), tolerance
        self._known = np.zeros(1 << 24, np.int16)

    def looked_up(self, levels_N3: np.ndarray) -> np.ndarray:
        """The entry N of each pixel."""
        colours_N = levels_N3 @ np.array([1 << 16, 1 << 8, 1], np.int32)
        known_N = self._known[colours_N]
        if (known_N == 0).any():
            self._meet(np.unique(colours_N[known_N == 0]))
            known_N = self._known[colours_N]
        return known_N

    def _meet(self, colours_M: np.ndarray) -> None:
        for start in range(0, len(colours_M), _PIXELS_AT_ONCE):
            part_M = colours_M[start : start + _PIXELS_AT_ONCE]
            levels_M3 = np.stack([part_M >> 16, part_M >> 8 & 255, part_M & 255], 1).astype(np.float32)
            squares_MK = np.square(self._colours_K3).sum(1) - 2 * levels_M3 @ self._colours_K3.T  # exact: below 2 ** 24
            nearest_M = squares_MK.argmin(1)
            squares_M = squares_MK[np.arange(len(nearest_M)), nearest_M] + np.square(levels_M3).sum(1)
            is_foreign_M = squares_M > self._tolerance**2
            self._known[part_M] = np.where(is_foreign_M, -1 - nearest_M, 1 + nearest_M)


@lru_cache(maxsize=4)
def _colours_met(colours: tuple[Colour, ...], tolerance: float) -> _ColoursMet:
    return _ColoursMet(colours, tolerance)


def colour_table(colours: Sequence[Colour]) -> np.ndarray:
    """Colours by id, uint8 (256, 3); black for ids without a class."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = np.array(colours, np.uint8)
    return table
