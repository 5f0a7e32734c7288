"""Slices of CT with masks or classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.layouts.ct_labelled import CtLabelled
from pixelmill.workers.errors import DataError
from tests.ct_tables import write_classes, write_lungs


def test_slices_pair_with_masks_by_name(tmp_path: Path) -> None:
    write_lungs(tmp_path, patients=2)
    found = CtLabelled().find([str(tmp_path)], Access(), None)
    assert list(found.roles) == ["image", "label"]
    assert len(found) == 4
    assert found.slices is not None
    assert len(set(found.slices.patients)) == 2


def test_a_slice_without_its_mask_is_refused(tmp_path: Path) -> None:
    write_lungs(tmp_path, patients=2)
    (tmp_path / "masks" / "ID_0001_Z_0000.png").unlink()
    with pytest.raises(DataError, match="ID_0001_Z_0000 has no file in masks"):
        CtLabelled().find([str(tmp_path)], Access(), None)


def test_folders_are_classes(tmp_path: Path) -> None:
    write_classes(tmp_path, patients=4)
    found = CtLabelled().find([str(tmp_path)], Access(), None)
    assert found.classes == ["lesions", "normal"]
    assert found.labels is not None
    assert sorted(found.labels.tolist()) == [0, 0, 1, 1]


def test_labels_without_images_are_refused_by_name(tmp_path: Path) -> None:
    write_lungs(tmp_path, patients=2)
    (tmp_path / "images" / "ID_0001_Z_0000.tif").unlink()
    with pytest.raises(DataError, match="ID_0001_Z_0000 has no file in images"):
        CtLabelled().find([str(tmp_path)], Access(), None)
