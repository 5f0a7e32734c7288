"""Draw contact sheets of CT: rows of tiles under a title, each tile with a caption, all tiles of a row on one scale.

Legend: H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pixelmill.workers.ct.sections import Section
from pixelmill.workers.ct.windows import Window, windowed
from pixelmill.workers.typed_torch import from_numpy

TILE_PX, GAP_PX, TITLE_PX, CAPTION_PX, FONT_PX = 200, 6, 22, 18, 12
PAPER, AROUND, INK, FAINT = (250, 250, 250), (58, 64, 74), (20, 20, 20), (90, 90, 90)
"""What lies around a section is no grey: it is not mistaken for air."""


@dataclass(frozen=True)
class Tile:
    """Grey levels, uint8 HW, with the distances of their rows and columns."""

    levels_HW: np.ndarray
    spacing_mm: tuple[float, float]
    caption: str

    @property
    def extent_mm(self) -> tuple[float, float]:
        rows, columns = self.levels_HW.shape
        return rows * self.spacing_mm[0], columns * self.spacing_mm[1]


@dataclass(frozen=True)
class SheetRow:
    title: str
    tiles: Sequence[Tile]


def tile_of(section: Section, window: Window, caption: str) -> Tile:
    """The section through a window: below it black, above it white."""
    hu_HW = from_numpy(np.array(section.values_HW))  # a copy: what Arrow gives can't be written to
    levels_HW = (windowed(hu_HW, window) * 255).round_().byte().numpy()
    return Tile(levels_HW, section.spacing_mm, caption)


def draw(rows: Sequence[SheetRow]) -> Image.Image:
    """One sheet, RGB."""
    columns = max(len(row.tiles) for row in rows)
    height = TITLE_PX + TILE_PX + CAPTION_PX + GAP_PX
    sheet = Image.new("RGB", (columns * (TILE_PX + GAP_PX) + GAP_PX, len(rows) * height + GAP_PX), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT_PX)
    for line, row in enumerate(rows):
        top = line * height + GAP_PX
        pen.text((GAP_PX, top + 3), row.title, INK, font)
        longest_mm = max(max(tile.extent_mm) for tile in row.tiles)
        for column, tile in enumerate(row.tiles):
            left = GAP_PX + column * (TILE_PX + GAP_PX)
            sheet.paste(_framed(tile, TILE_PX / longest_mm), (left, top + TITLE_PX))
            pen.text((left + 2, top + TITLE_PX + TILE_PX + 2), tile.caption, FAINT, font)
    return sheet


def _framed(tile: Tile, px_per_mm: float) -> Image.Image:
    """The tile in true proportions, in the middle of its place."""
    height, width = (max(1, min(TILE_PX, round(length * px_per_mm))) for length in tile.extent_mm)
    levels = Image.fromarray(tile.levels_HW).resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3)
    place = Image.new("RGB", (TILE_PX, TILE_PX), AROUND)
    place.paste(levels.convert("RGB"), ((TILE_PX - width) // 2, (TILE_PX - height) // 2))
    return place
