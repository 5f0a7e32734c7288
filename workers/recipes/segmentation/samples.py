"""Make a sample from a picture and its label: resized alike, with ids mapped as in the settings.

Legend: C channels, H height, W width.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes import Sample
from pixelmill.workers.recipes.sample_pixels import sample_pixels
from pixelmill.workers.recipes.segmentation.augmentation import nearest_places, resized
from pixelmill.workers.recipes.segmentation.label_orientation import as_shown, orientation_of
from pixelmill.workers.recipes.segmentation.labels import mapped, read_class_list, read_ids, to_void
from pixelmill.workers.recipes.segmentation.settings import LabelledSettings


def read_sample(files: Mapping[str, bytes], settings: LabelledSettings) -> Sample:
    """image (HWC), label (HW, ids or VOID), classes (the names as JSON) and the ignored id, resized to `size_px`."""
    names, ignore_index = classes_of(files.get("classes"), settings)
    if "label" not in files:
        raise DataError("the picture has no label; put a PNG of class ids of the same name among the labels")
    image_CHW = sample_pixels(files["image"])
    ids_HW = mapped(read_ids(files["label"]), settings.map_ids)
    orientation = orientation_of(files["image"])
    ids_HW = as_shown(ids_HW, tuple(image_CHW.shape[1:]), orientation, settings.turned_labels)
    label_HW = to_void(ids_HW, len(names), ignore_index)
    size_HW = settings.size_px or label_HW.shape
    if size_HW != label_HW.shape:
        image_CHW = resized(image_CHW, (size_HW[0], size_HW[1]))
        rows, columns = (nearest_places(*sides) for sides in zip(label_HW.shape, size_HW, strict=True))
        label_HW = label_HW[np.ix_(rows, columns)]
    image_HWC = np.ascontiguousarray(image_CHW.permute(1, 2, 0).numpy())
    facts = {"classes": names, "ignored": [] if ignore_index is None else [ignore_index]}
    return {"image": image_HWC, "label": label_HW} | {
        name: np.frombuffer(json.dumps(fact).encode(), np.uint8) for name, fact in facts.items()
    }


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
    return listed.classes, listed.ignore_index if ignore_index is None else ignore_index
