"""Contact sheets: grey levels of a window, true proportions, one scale in a row."""

from __future__ import annotations

import numpy as np
from PIL import Image

from pixelmill.workers.ct.contact_sheet import (
    AROUND,
    CAPTION_PX,
    GAP_PX,
    TILE_PX,
    TITLE_PX,
    SheetRow,
    Tile,
    draw,
    tile_of,
)
from pixelmill.workers.ct.sections import Section
from pixelmill.workers.ct.windows import WINDOWS


def test_a_window_is_black_below_and_white_above() -> None:
    hu = np.array([[-161, -160, 40, 240, 3000]], np.int16)
    hu.setflags(write=False)  # as Arrow gives it
    assert tile_of(Section("axial", hu, (1, 1)), WINDOWS["soft-tissue"], "").levels_HW.tolist() == [
        [0, 0, 128, 255, 255]
    ]


def places(sheet: Image.Image, column: int, line: int = 0) -> np.ndarray:
    """Where the tile at this place shows its section, and not what is around."""
    left = GAP_PX + column * (TILE_PX + GAP_PX)
    top = GAP_PX + TITLE_PX + line * (TITLE_PX + TILE_PX + CAPTION_PX + GAP_PX)
    tile = np.asarray(sheet)[top : top + TILE_PX, left : left + TILE_PX]
    return (tile != AROUND).any(-1)


def size_px(shown: np.ndarray) -> tuple[int, int]:
    return int(shown.any(1).sum()), int(shown.any(0).sum())


def test_tiles_of_a_row_have_one_scale_and_true_proportions() -> None:
    white = np.full((10, 20), 255, np.uint8)
    tiles = [Tile(white, (4.0, 1.0), "40 x 20 mm"), Tile(white, (1.0, 1.0), "10 x 20 mm")]
    sheet = draw([SheetRow("two", tiles), SheetRow("alone", tiles[1:])])
    assert size_px(places(sheet, 0)) == (TILE_PX, TILE_PX // 2)
    assert size_px(places(sheet, 1)) == (TILE_PX // 4, TILE_PX // 2)
    assert size_px(places(sheet, 0, line=1)) == (TILE_PX // 2, TILE_PX)
