"""Read the layout of a photograph from its label file: class ids as a PNG stores them, or colours of a palette.

Legend: H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from pixelmill.workers.codecs.id_png import holds_colours
from pixelmill.workers.drawn_classes import NEAR_LEVELS, Palette, nearest_ids
from pixelmill.workers.errors import DataError
from pixelmill.workers.models.palette import class_colours
from pixelmill.workers.recipes.sample_pixels import sample_pixels
from pixelmill.workers.recipes.segmentation.label_files import SEGMENTS, file_ids
from pixelmill.workers.recipes.segmentation.label_orientation import as_shown
from pixelmill.workers.recipes.segmentation.labels import read_class_list, to_void

FOREIGN_SHARE = 0.75
"""A picture is not a layout if this share of pixels is farther than NEAR_LEVELS from every class's colour; in 500 JPEGs of
layouts the share is below 0.48."""


@dataclass(frozen=True)
class LayoutClasses:
    """The classes of a data set by id, and the id of pixels without a class."""

    palette: Palette
    ignore_index: int | None


def classes_of(data: bytes | None, palette: Palette | None, ignore_index: int | None) -> LayoutClasses:
    """The settings' palette and ignored id override those of classes.json. DataError if neither names the classes."""
    if data is None:
        if palette is None:
            raise DataError('the classes are not known: add classes.json, or set palette to {"NAME": [r, g, b]}')
        return LayoutClasses(palette, ignore_index)
    stated = _stated(data)
    return LayoutClasses(palette or stated.palette, stated.ignore_index if ignore_index is None else ignore_index)


@lru_cache(maxsize=8)
def _stated(data: bytes) -> LayoutClasses:
    listed = read_class_list(data)
    colours = class_colours(listed.classes) if listed.colours is None else listed.colours
    return LayoutClasses(dict(zip(listed.classes, colours, strict=True)), listed.ignore_index)


def read_layout(
    files: Mapping[str, bytes],
    classes: LayoutClasses,
    photo_HW: tuple[int, ...],
    orientation: int,
    turned: Literal["shown", "stored"] | None,
) -> np.ndarray:
    """uint8 HW: 0 to K - 1, or VOID; `orientation` is that of the photograph (EXIF).

    DataError if the label holds neither ids nor colours of these classes.
    """
    if "label" not in files:
        raise DataError("the photograph has no layout; put a PNG of the same name among the labels")
    if is_drawn(files):
        drawn_CHW = sample_pixels(files["label"], "label")
        ids_HW = class_ids(drawn_CHW.permute(1, 2, 0).numpy(), classes.palette, "the label")
        return as_shown(ids_HW, photo_HW, 1, None)  # it was turned like any other picture
    ids_HW = as_shown(file_ids(files), photo_HW, orientation, turned)
    return to_void(ids_HW, len(classes.palette), classes.ignore_index)


def is_drawn(files: Mapping[str, bytes]) -> bool:
    """Whether the label is a picture in the colours of the classes."""
    return SEGMENTS not in files and not files["label"].startswith(b"{") and holds_colours(files["label"])


def class_ids(drawn_HWC: np.ndarray, palette: Palette, whose: str) -> np.ndarray:
    """The class with the nearest colour, uint8 HW; DataError if too few pixels have the colour of a class."""
    ids_HW, foreign = nearest_ids(drawn_HWC, list(palette.values()), NEAR_LEVELS)
    if foreign > FOREIGN_SHARE:
        raise DataError(
            f"{whose} has not the colours of the classes ({foreign:.0%} of its pixels are of none): "
            "set palette to the names and colours that layouts are drawn in"
        )
    return ids_HW
