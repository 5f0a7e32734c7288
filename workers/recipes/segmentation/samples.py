"""Make a sample from a picture and its label: resized alike, with ids mapped as in the settings.

Legend: C channels, H height, W width.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from pixelmill.workers.errors import DataError
from pixelmill.workers.geometry.resize import stretch
from pixelmill.workers.recipes import Sample
from pixelmill.workers.recipes.sample_pixels import turned_pixels
from pixelmill.workers.recipes.segmentation.augmentation import nearest_places
from pixelmill.workers.recipes.segmentation.black_and_white import BLACK_AND_WHITE, WHITE, is_black_and_white
from pixelmill.workers.recipes.segmentation.label_files import file_ids
from pixelmill.workers.recipes.segmentation.label_orientation import as_shown
from pixelmill.workers.recipes.segmentation.labels import VOID, mapped, read_class_list, to_void
from pixelmill.workers.recipes.segmentation.settings import LabelledSettings


def read_sample(files: Mapping[str, bytes], settings: LabelledSettings) -> Sample:
    """image (HWC), label (HW, ids or VOID), classes (the names as JSON) and the ignored id, resized to `size_px`.

    `stored` has the ids in the file where 255 could stand for the second of two classes; see black_and_white.py.
    """
    if "label" not in files:
        raise DataError("the picture has no label; put a PNG of class ids of the same name among the labels")
    image_CHW, orientation = turned_pixels(files["image"])
    ids_HW = mapped(file_ids(files), settings.map_ids)
    names, ignore_index = _classes_for(ids_HW, files.get("classes"), settings)
    stored = np.unique(ids_HW).astype(np.uint16)
    if is_black_and_white(stored, len(names), ignore_index):
        ids_HW = np.minimum(ids_HW, 1)
    ids_HW = as_shown(ids_HW, tuple(image_CHW.shape[1:]), orientation, settings.turned_labels)
    label_HW = to_void(ids_HW, len(names), ignore_index)
    size_HW = settings.size_px or label_HW.shape
    if size_HW != label_HW.shape:
        image_CHW = stretch(image_CHW, (size_HW[0], size_HW[1]))
        rows, columns = (nearest_places(*sides) for sides in zip(label_HW.shape, size_HW, strict=True))
        label_HW = label_HW[np.ix_(rows, columns)]
    image_HWC = np.ascontiguousarray(image_CHW.permute(1, 2, 0).numpy())
    facts = {"classes": names, "ignored": [] if ignore_index is None else [ignore_index]}
    may_be_white = {"stored": stored} if len(names) == 2 and ignore_index is None else {}
    return {"image": image_HWC, "label": label_HW, **may_be_white} | {
        name: np.frombuffer(json.dumps(fact).encode(), np.uint8) for name, fact in facts.items()
    }


def _classes_for(
    ids_HW: np.ndarray, data: bytes | None, settings: LabelledSettings
) -> tuple[tuple[str, ...], int | None]:
    """As `classes_of`; black and white masks need no names."""
    stated = (data, settings.classes, settings.class_names, settings.ignore_index)
    if all(each is None for each in stated) and np.isin(ids_HW, (0, WHITE)).all():
        return BLACK_AND_WHITE, None
    return classes_of(data, settings)


def classes_of(data: bytes | None, settings: LabelledSettings) -> tuple[tuple[str, ...], int | None]:
    """Names and the ignored id; the settings override classes.json."""
    count, ignore_index = settings.classes, settings.ignore_index
    if data is None and settings.class_names is not None:
        return settings.class_names, ignore_index
    if data is None:
        if count is None:
            raise DataError("the number of classes is not known: add classes.json, or set classes")
        return tuple(f"class_{number}" for number in range(count)), ignore_index
    listed = read_class_list(data)
    if count is not None and count != len(listed.classes):
        raise DataError(f"classes is {count}, but classes.json names {len(listed.classes)}; take one of them out")
    stated = listed.ignore_index if listed.colours is None or listed.ignore_index is not None else VOID
    return listed.classes, stated if ignore_index is None else ignore_index
