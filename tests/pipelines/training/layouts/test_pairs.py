"""Masks beside their pictures pair by their ending, other files by a pattern."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelmill.pipelines.training.layouts.registry import find, layout_of
from pixelmill.workers.errors import DataError
from tests.pipelines.training.drawn import ACCESS, draw

ROLES = layout_of("pairs").ROLES


def pairs(uri: str) -> list[tuple[str, str]]:
    found = find(ROLES, [uri], ACCESS)
    columns = (found.roles[role]["uri"].to_pylist() for role in ("image", "label"))
    return [(Path(image).name, Path(label).name) for image, label in zip(*columns, strict=True)]


@pytest.mark.parametrize("ending", ["_mask", "_label", "_gt"])
def test_masks_beside_their_pictures_pair_without_their_ending_which_is_reported(tmp_path: Path, ending: str) -> None:
    root = draw(tmp_path, "cat.png", f"cat{ending}.png", "10.png", f"10{ending}.png", "1.png", f"1{ending}.png")
    assert pairs(root) == [(f"{name}.png", f"{name}{ending}.png") for name in ("1", "10", "cat")]
    assert f"each picture NAME is paired with its mask NAME{ending}" in find(ROLES, [root], ACCESS).says()


def test_a_mask_that_is_missing_beside_its_picture_is_named(tmp_path: Path) -> None:
    root = draw(tmp_path, "cat.png", "cat_mask.png", "dog.png")
    with pytest.raises(DataError, match="dog has no file in the folder as its mask NAME_mask"):
        find(ROLES, [root], ACCESS)


@pytest.mark.parametrize("ending", ["_mask", "_L"])
def test_labels_in_a_folder_of_their_own_may_have_an_ending_too(tmp_path: Path, ending: str) -> None:
    root = draw(tmp_path, *(f"images/{name}.png" for name in ("0", "1", "10")))
    draw(tmp_path, *(f"labels/{name}{ending}.png" for name in ("0", "1", "10")))
    assert pairs(root) == [(f"{name}.png", f"{name}{ending}.png") for name in ("0", "1", "10")]
    assert find(ROLES, [root], ACCESS).says() == [f"each picture NAME is paired with its label NAME{ending}"]


def test_an_ending_that_not_all_labels_have_pairs_nothing(tmp_path: Path) -> None:
    root = draw(tmp_path, "images/0.png", "images/1.png", "labels/0_mask.png", "labels/1.png")
    with pytest.raises(
        DataError, match=r"0 has no file in labels.*pattern such as DIR/\{images/\*\.png,labels/\*\.png\}"
    ):
        find(ROLES, [root], ACCESS)


def test_folders_without_masks_are_no_pairs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no folder images or labels; it holds a\.png, b\.png"):
        find(ROLES, [draw(tmp_path, "a.png", "b.png")], ACCESS)
