"""Pictures and masks pair by name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.layouts.registry import find, layout_of
from pixelmill.pipelines.training.splits import split
from pixelmill.workers.errors import DataError


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    folder = masks(tmp_path, "ab", "ab")
    Image.new("L", (6, 4)).save(tmp_path / "images/a.jpg")
    with pytest.raises(DataError, match=r"a\.png: .*a\.jpg has the same name"):
        find(layout_of("masks").ROLES, [folder], Access())


def masks(folder: Path, names: Iterable[str], labels: Iterable[str]) -> str:
    for kind, several in (("images", names), ("labels", labels)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for name in several:
            Image.fromarray(np.zeros((4, 6), np.uint8)).save(folder / kind / f"{name}.png")
    return str(folder)


def test_pictures_and_masks_pair_by_name(tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_text('{"classes": ["a", "b"]}')
    masks(tmp_path / "train", "abc", "abc")
    masks(tmp_path / "val", "de", "de")
    found = split(layout_of("masks").ROLES, [str(tmp_path)], [], 0.1, 0, Access())
    assert (len(found.train), len(found.held_out or []), len(found.test or [])) == (2, 1, 2)
    assert found.train.constants == {"classes": b'{"classes": ["a", "b"]}'}
    pairs = zip(*(found.train.roles[role]["uri"].to_pylist() for role in ("image", "label")), strict=True)
    assert all(Path(image).name == Path(label).name for image, label in pairs)


def test_a_picture_without_its_label_is_named_with_what_is_missing(tmp_path: Path) -> None:
    folder = masks(tmp_path, "abc", "ac")
    with pytest.raises(DataError, match="b has no file in labels"):
        find(layout_of("masks").ROLES, [folder], Access())
    with pytest.raises(DataError, match="no folder left or right"):
        find(layout_of("stereo").ROLES, [folder], Access())
