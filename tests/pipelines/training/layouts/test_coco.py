"""COCO: categories are numbered without gaps, crowds are void, and instances are drawn as COCO's tools draw them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.layouts.coco import Coco
from pixelmill.pipelines.training.layouts.registry import find, stated_parts
from pixelmill.pipelines.training.reading import read_samples
from pixelmill.workers.codecs.coco_rle import encode_rle
from pixelmill.workers.errors import DataError
from tests.pipelines.training.drawn import ACCESS
from tests.workers.labelled import recipe

CATEGORIES = [{"id": 90, "name": "brush"}, {"id": 1, "name": "person"}, {"id": 17, "name": "cat"}]
RIGHT = [4, 0, 8, 0, 8, 6, 4, 6]
"""The right half of 8 x 6 pixels."""


def write(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def pictures(folder: Path, *numbers: int) -> list[dict[str, Any]]:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        Image.new("RGB", (8, 6), (number, 0, 0)).save(folder / f"{number:012}.jpg")
    return [{"id": number, "file_name": f"{number:012}.jpg", "height": 6, "width": 8} for number in numbers]


def instances(root: Path, part: str, folder: str, annotations: list[dict[str, Any]], *numbers: int) -> str:
    document = {"images": pictures(root / folder, *numbers), "annotations": annotations, "categories": CATEGORIES}
    write(root / f"annotations/instances_{part}.json", document)
    return str(root)


def labels(found: DataSet) -> list[list[list[int]]]:
    return [sample["label"].tolist() for sample in read_samples(found, recipe())]


@pytest.mark.parametrize("folder", ["val2017", "images/val2017", "images"])
def test_instances_become_a_class_map_with_small_shapes_on_large_ones_and_crowds_void(
    tmp_path: Path, folder: str
) -> None:
    corner_HW = np.zeros((6, 8), np.uint8)
    corner_HW[:2, 6:] = 1
    runs = [36, 2, 4, 2, 4]  # down the columns: 6 columns outside, then twice 2 inside and 4 outside
    annotations = [
        {"image_id": 5, "category_id": 90, "segmentation": {"size": [6, 8], "counts": encode_rle(corner_HW)[1]}},
        {"image_id": 5, "category_id": 17, "segmentation": [RIGHT]},
        {"image_id": 7, "category_id": 1, "iscrowd": 1, "segmentation": {"size": [6, 8], "counts": runs}},
        {"image_id": 7, "category_id": 1, "segmentation": [[0, 0, 7, 0, 7, 1, 0, 1]]},
    ]
    root = instances(tmp_path, "val2017", folder, annotations, 5, 7, 9)
    found = find(Coco.ROLES, [root], ACCESS)
    assert json.loads(found.constants["classes"])["classes"] == ["background", "person", "cat", "brush"]
    first, second, third = labels(found)
    assert first == [[0, 0, 0, 0, 2, 2, 3, 3]] * 2 + [[0, 0, 0, 0, 2, 2, 2, 2]] * 4
    assert second == [[1] * 7 + [255], [0] * 6 + [255] * 2, *([[0] * 8] * 4)]
    assert third == [[0] * 8] * 6


def test_files_of_annotations_are_the_parts_and_samples_keep_their_labels_when_some_are_taken(tmp_path: Path) -> None:
    shape = {"category_id": 17, "segmentation": [RIGHT]}
    instances(tmp_path, "train2017", "train2017", [{"image_id": 2, **shape}], 1, 2)
    root = instances(tmp_path, "val2017", "val2017", [{"image_id": 3, **shape}], 3)
    parts = stated_parts(Coco.ROLES, root, ACCESS)
    assert list(parts) == ["train", "val"]
    train = find(Coco.ROLES, [parts["train"]], ACCESS)
    assert len(find(Coco.ROLES, [root], ACCESS)) == 3
    (taken,) = labels(train.take([1]))
    assert taken[0] == [0, 0, 0, 0, 2, 2, 2, 2]


def test_panoptic_segments_have_their_classes_and_the_rest_is_void(tmp_path: Path) -> None:
    images = pictures(tmp_path / "val2017", 5)
    segments = [
        {"id": 3 + 2 * 256, "category_id": 90},
        {"id": 65536 * 9, "category_id": 1},
        {"id": 8, "category_id": 17, "iscrowd": 1},
    ]
    drawn_HWC = np.zeros((6, 8, 3), np.uint8)
    drawn_HWC[1], drawn_HWC[2], drawn_HWC[3] = (3, 2, 0), (0, 0, 9), (8, 0, 0)
    (tmp_path / "annotations/panoptic_val2017").mkdir(parents=True)
    Image.fromarray(drawn_HWC).save(tmp_path / "annotations/panoptic_val2017/000000000005.png")
    annotation = {"image_id": 5, "file_name": "000000000005.png", "segments_info": segments}
    document = {"images": images, "annotations": [annotation], "categories": CATEGORIES}
    write(tmp_path / "annotations/panoptic_val2017.json", document)
    found = find(Coco.ROLES, [str(tmp_path)], ACCESS)
    assert json.loads(found.constants["classes"])["classes"] == ["person", "cat", "brush"]
    assert [row[0] for row in labels(found)[0]] == [255, 2, 0, 255, 255, 255]
    segments.pop()
    write(tmp_path / "annotations/panoptic_val2017.json", document)
    with pytest.raises(DataError, match=r"holds the segments \[8\], which its annotations lack"):
        labels(find(Coco.ROLES, [str(tmp_path)], ACCESS))


def test_both_kinds_missing_pictures_and_broken_shapes_are_refused(tmp_path: Path) -> None:
    root = instances(tmp_path, "val2017", "val2017", [{"image_id": 5, "category_id": 1, "segmentation": [[1, 2]]}], 5)
    with pytest.raises(DataError, match=r"an annotation of the picture can't be drawn: .*three corners"):
        labels(find(Coco.ROLES, [root], ACCESS))
    (tmp_path / "val2017/000000000005.jpg").rename(tmp_path / "val2017/6.jpg")
    with pytest.raises(DataError, match=r"000000000005\.jpg is annotated and not there"):
        find(Coco.ROLES, [root], ACCESS)
    (tmp_path / "annotations/panoptic_val2017.json").write_text("{}")
    with pytest.raises(DataError, match="holds instances and panoptic annotations; name the file to train on"):
        find(Coco.ROLES, [root], ACCESS)
    with pytest.raises(DataError, match="has no images, annotations and categories"):
        find(Coco.ROLES, [f"{root}/annotations/panoptic_val2017.json"], ACCESS)
