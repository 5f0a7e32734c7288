"""Cityscapes: 19 classes by their train ids, whichever labels lie there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelmill.pipelines.training.layouts.cityscapes import TRAIN_IDS, Cityscapes
from pixelmill.pipelines.training.layouts.registry import find, stated_parts
from pixelmill.pipelines.training.reading import read_samples
from pixelmill.workers.errors import DataError
from tests.pipelines.training.drawn import ACCESS
from tests.workers.labelled import recipe

LABEL_IDS = np.array([[0, 7, 8], [33, 34, 26]], np.uint8)
EXPECTED = [[255, 0, 1], [18, 255, 13]]


def cityscapes(root: Path, *kinds: str) -> str:
    for split, city, count in (("train", "ulm", 2), ("val", "bonn", 1), ("test", "rom", 1)):
        for folder in ("leftImg8bit", "gtFine"):
            (root / folder / split / city).mkdir(parents=True)
        for frame in range(count):
            name = f"{split}/{city}/{city}_000000_00000{frame}"
            Image.new("RGB", (3, 2)).save(root / f"leftImg8bit/{name}_leftImg8bit.png")
            Image.new("RGB", (3, 2)).save(root / f"gtFine/{name}_gtFine_color.png")
            for kind in kinds:
                held = LABEL_IDS if kind == "labelIds" else np.array(EXPECTED, np.uint8)
                Image.fromarray(held).save(root / f"gtFine/{name}_gtFine_{kind}.png")
    return str(root)


@pytest.mark.parametrize("kinds", [("labelIds",), ("labelTrainIds",), ("labelIds", "labelTrainIds")])
def test_the_19_classes_have_their_train_ids_and_all_others_are_void(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    root = cityscapes(tmp_path, *kinds)
    parts = stated_parts(Cityscapes.ROLES, root, ACCESS)
    assert list(parts) == ["train", "val"]
    assert [len(find(Cityscapes.ROLES, [uri], ACCESS)) for uri in (*parts.values(), root)] == [2, 1, 3]
    assert len(TRAIN_IDS) == 19
    (sample,) = read_samples(find(Cityscapes.ROLES, [parts["val"]], ACCESS), recipe())
    assert sample["label"].tolist() == EXPECTED


def test_a_picture_without_label_and_labels_that_were_not_extracted_are_named(tmp_path: Path) -> None:
    root = cityscapes(tmp_path, "labelIds")
    (tmp_path / "gtFine/val/bonn/bonn_000000_000000_gtFine_labelIds.png").unlink()
    with pytest.raises(DataError, match="bonn_000000_000000 and 0 more have no label in gtFine/val"):
        find(Cityscapes.ROLES, [root], ACCESS)
    (tmp_path / "gtFine").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"has leftImg8bit and no gtFine; extract the labels"):
        find(Cityscapes.ROLES, [root], ACCESS)
