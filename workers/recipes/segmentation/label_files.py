"""Read the class ids of a sample's label: a picture of ids or of colours, a panoptic picture with its segments, or COCO's
annotations.

Where classes.json has `colours`, a PNG in these colours is read by them, and any other colour is void. A picture of ids may
use other ids than the places of the class names: `ids` of classes.json gives the class of each, and every other id is void. A
panoptic picture holds the number of a segment in its colours, red + 256 green + 65536 blue, and `segments` gives the class of
each number as JSON. Annotations are JSON {"size": [height, width], "shapes": [[class, shape], ...]}, a shape a list of
polygons or run lengths as COCO writes them. Larger shapes are drawn first, since what lies on or before something else is
mostly smaller; void shapes are drawn before all others, and pixels of no shape are of class 0.

Legend: H height, W width.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from pixelmill.workers.codecs.coco_polygons import polygon_mask
from pixelmill.workers.codecs.coco_rle import decode_rle
from pixelmill.workers.codecs.decode import MAX_PIXELS
from pixelmill.workers.codecs.id_png import holds_colours
from pixelmill.workers.codecs.signatures import find_format
from pixelmill.workers.drawn_classes import exact_ids
from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes.sample_pixels import sample_pixels
from pixelmill.workers.recipes.segmentation.labels import VOID, ClassList, read_class_list, read_ids

SEGMENTS = "segments"
"""The part of a sample with the class of each segment of a panoptic picture."""


def file_ids(files: Mapping[str, bytes]) -> np.ndarray:
    """The class ids HW of a label. Where the data numbers classes its own way, ids are 0 to K - 1 or VOID."""
    label = files["label"]
    if SEGMENTS in files:
        return _of_segments(label, files[SEGMENTS])
    if label.startswith(b"{"):
        return _of_shapes(label)
    stated = read_class_list(files["classes"]) if "classes" in files else None
    if stated is not None and stated.colours is not None and find_format(label) == "PNG" and holds_colours(label):
        return _of_colours(label, stated)
    ids_HW = read_ids(label)
    return ids_HW if stated is None or stated.ids is None else _renumbered(ids_HW, stated.ids)


def _of_colours(label: bytes, stated: ClassList) -> np.ndarray:
    """Exact colours: PNG keeps them, and a colour that is no class's is void. DataError where no pixel has one."""
    assert stated.colours is not None
    levels_HW3 = sample_pixels(label, "label").permute(1, 2, 0).numpy()
    ids_HW = exact_ids(levels_HW3, stated.colours)
    if (ids_HW == VOID).all():
        red, green, blue = (int(level) for level in levels_HW3[0, 0])
        raise DataError(
            f"the label has not one pixel in the colours of classes.json (its first one is [{red}, {green}, {blue}]); correct "
            "colours, or leave them out where labels hold ids"
        )
    return ids_HW


def _renumbered(ids_HW: np.ndarray, numbering: Mapping[int, int]) -> np.ndarray:
    table = np.full(65536, VOID, np.uint16)
    table[list(numbering)] = list(numbering.values())
    return table[ids_HW]


def _of_segments(label: bytes, segments: bytes) -> np.ndarray:
    pixels_CHW = sample_pixels(label, "label").numpy().astype(np.int64)
    numbers_HW = pixels_CHW[0] + 256 * pixels_CHW[1] + 65536 * pixels_CHW[2]
    classes = {0: VOID, **{int(number): value for number, value in json.loads(segments).items()}}
    found, places_HW = np.unique(numbers_HW, return_inverse=True)
    if strangers := [number for number in found.tolist() if number not in classes]:
        raise DataError(
            f"the panoptic label holds the segments {strangers[:3]}, which its annotations lack; take files of one export"
        )
    return np.array([classes[number] for number in found.tolist()], np.uint8)[places_HW].reshape(numbers_HW.shape)


def _of_shapes(label: bytes) -> np.ndarray:
    document = cast("dict[str, Any]", json.loads(label))
    height, width = document["size"]
    if height * width > MAX_PIXELS:
        raise DataError(f"its annotations are of {width} x {height} pixels, more than {MAX_PIXELS:,}; cut it")
    try:
        drawn = [(kind, _shape_mask(shape, height, width)) for kind, shape in document["shapes"]]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"an annotation of the picture can't be drawn: {error}; correct its segmentation") from error
    ids_HW = np.zeros((height, width), np.uint8)
    for kind, mask_HW in sorted(drawn, key=lambda each: (each[0] != VOID, -int(each[1].sum()))):
        ids_HW[mask_HW] = kind
    return ids_HW


def _shape_mask(shape: object, height: int, width: int) -> np.ndarray:
    if isinstance(shape, dict):
        runs = cast("dict[str, Any]", shape)
        if list(runs["size"]) != [height, width]:
            raise ValueError(f"its run lengths are of {runs['size']} pixels, and the picture has {[height, width]}")
        return decode_rle(runs["counts"], height, width)
    masks = [polygon_mask(corners, height, width) for corners in cast("list[list[float]]", shape)]
    return np.logical_or.reduce(masks) if masks else np.zeros((height, width), bool)
