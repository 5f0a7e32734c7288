"""Palettes of classes, and conversion of a coloured layout to class ids. Imports no torch.

Legend: H height, W width, K classes, N pixels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, cast

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field

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
        stated = json.loads(written if written.lstrip().startswith("{") else Path(written).read_text(encoding="utf-8"))
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
    colours_K3 = np.array(colours, np.float32)
    ids_N, foreign = np.empty(drawn_HWC.shape[0] * drawn_HWC.shape[1], np.uint8), 0
    for place, levels_N3 in _chunks(drawn_HWC.reshape(-1, 3)):
        squares_NK = np.square(colours_K3).sum(1) - 2 * levels_N3 @ colours_K3.T  # exact: below 2 ** 24
        nearest_N = squares_NK.argmin(1)
        ids_N[place] = nearest_N
        squares_N = squares_NK[np.arange(len(nearest_N)), nearest_N] + np.square(levels_N3).sum(1)
        foreign += int((squares_N > tolerance**2).sum())
    return ids_N.reshape(drawn_HWC.shape[:2]), foreign / max(1, len(ids_N))


def _chunks(levels_N3: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    for start in range(0, len(levels_N3), _PIXELS_AT_ONCE):
        place = slice(start, start + _PIXELS_AT_ONCE)
        yield place, levels_N3[place].astype(np.float32)


def colour_table(colours: Sequence[Colour]) -> np.ndarray:
    """Colours by id, uint8 (256, 3); black for ids without a class."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = np.array(colours, np.uint8)
    return table
