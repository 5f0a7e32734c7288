"""PASCAL VOC: lists name the parts, 255 is void, and the class names come from what lies there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixelmill.pipelines.training.layouts.registry import find, stated_parts
from pixelmill.pipelines.training.layouts.voc import CHALLENGE, Voc
from pixelmill.pipelines.training.reading import read_samples
from pixelmill.pipelines.training.splits import split
from pixelmill.pipelines.training.unseen import Seen, to_evaluate
from pixelmill.workers.errors import DataError
from tests.pipelines.training.drawn import ACCESS
from tests.workers.labelled import recipe


def voc(root: Path) -> str:
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for number, name in enumerate(("2007_1", "2007_2", "2007_3", "unlabelled")):
        Image.new("RGB", (6, 4), (number, 0, 0)).save(root / f"JPEGImages/{name}.jpg")
    for number in (1, 2, 3):
        ids_HW = np.full((4, 6), number, np.uint8)
        ids_HW[0], ids_HW[1] = 255, 0
        mask = Image.fromarray(ids_HW, "L").convert("P")
        mask.putdata(ids_HW.ravel().tolist())
        mask.putpalette([level for colour in np.random.default_rng(0).integers(0, 256, (256, 3)) for level in colour])
        mask.save(root / f"SegmentationClass/2007_{number}.png")
    (root / "ImageSets/Segmentation/train.txt").write_text("2007_1\n2007_2\n")
    (root / "ImageSets/Segmentation/val.txt").write_text("2007_3\r\n")
    return str(root)


def names(root: str, **settings: Any) -> list[str]:
    found = find(Voc.ROLES, [root], ACCESS)
    (sample, *_) = read_samples(found, recipe(**settings))
    return json.loads(sample["classes"].tobytes())


def test_lists_are_the_parts_and_masks_hold_ids_and_void(tmp_path: Path) -> None:
    root = voc(tmp_path)
    parts = stated_parts(Voc.ROLES, root, ACCESS)
    assert list(parts) == ["train", "val"]
    found = {name: find(Voc.ROLES, [uri], ACCESS) for name, uri in parts.items()}
    assert [Path(name).stem for name in found["train"].names()] == ["2007_1", "2007_2"]
    assert [Path(name).stem for name in found["val"].names()] == ["2007_3"]
    assert len(find(Voc.ROLES, [root], ACCESS)) == 3
    (sample,) = read_samples(found["val"], recipe(classes=4, ignore_index=255))
    assert sample["label"][:3].tolist() == [[255] * 6, [0] * 6, [3] * 6]


def test_class_names_are_those_of_the_label_map_or_of_the_challenge_where_its_lists_lie(tmp_path: Path) -> None:
    root = voc(tmp_path)
    with pytest.raises(DataError, match=r"the number of classes is not known"):
        names(root)
    for name in CHALLENGE:
        (tmp_path / f"ImageSets/Main/{name}_train.txt").touch()
    assert names(root) == ["background", *CHALLENGE]
    (tmp_path / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nground:0,0,0::\na:1,0,0::\nb:::\nc:::\n")
    assert names(root) == ["ground", "a", "b", "c"]


def test_a_name_without_a_file_is_refused(tmp_path: Path) -> None:
    root = voc(tmp_path)
    (tmp_path / "ImageSets/Segmentation/val.txt").write_text("2007_3\nunlabelled\n")
    with pytest.raises(DataError, match=r"val\.txt: unlabelled and 0 more have no file in SegmentationClass"):
        find(Voc.ROLES, [f"{root}/ImageSets/Segmentation/val.txt"], ACCESS)


def test_a_training_and_an_evaluation_take_the_parts_that_the_lists_are(tmp_path: Path) -> None:
    root = voc(tmp_path)
    found = split(Voc.ROLES, [root], [], 0.5, 0, ACCESS)
    assert found.held_out is not None
    assert found.test is not None
    assert sorted(Path(name).stem for part in (found.train, found.held_out) for name in part.names()) == [
        "2007_1",
        "2007_2",
    ]
    assert [Path(name).stem for name in found.test.names()] == ["2007_3"]
    seen = Seen(frozenset(), frozenset())
    assert [
        len(to_evaluate(Voc.ROLES, [root], part, seen, ACCESS).data) for part in ("auto", "val", "train", "all")
    ] == [
        1,
        1,
        2,
        3,
    ]
