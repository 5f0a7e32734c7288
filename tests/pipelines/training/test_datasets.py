"""The laws of data sets: classes are what a person sees, parts are found through links, and what is hidden is no sample."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.layouts.registry import find, layout_of
from pixelmill.pipelines.training.splits import split, to_evaluate
from pixelmill.workers.errors import DataError

ACCESS = Access(retry_for_s=0.0)


def draw(folder: Path, *names: str) -> str:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (6, 4), number).save(path)
    return str(folder)


def labelled(*uris: str, classes: list[str] | None = None) -> dict[str, str]:
    """The class of each picture, by its name."""
    found = find(layout_of("classes").ROLES, uris, ACCESS, classes)
    assert found.labels is not None
    names = found.classes or []
    return {Path(name).name: names[label] for name, label in zip(found.names(), found.labels, strict=True)}


# -------------------------------------------------------------------------------------------------------------- classes


def test_a_class_is_the_first_folder_below_the_data_whatever_lies_in_it(tmp_path: Path) -> None:
    root = draw(tmp_path, "cats/2019/1.png", "cats/2020/2.png", "dogs/2019/3.png", "dogs/4.png")
    assert labelled(root) == {"1.png": "cats", "2.png": "cats", "3.png": "dogs", "4.png": "dogs"}


def test_folders_that_all_pictures_share_are_no_class(tmp_path: Path) -> None:
    root = draw(tmp_path, "set/images/cats/1.png", "set/images/dogs/2019/2.png")
    assert labelled(root) == {"1.png": "cats", "2.png": "dogs"}
    assert labelled(f"{root}/set/*/*/**") == {"1.png": "cats", "2.png": "dogs"}


def test_a_class_can_be_a_source_of_its_own(tmp_path: Path) -> None:
    draw(tmp_path, "cats/1.png", "dogs/2.png")
    assert labelled(f"{tmp_path}/cats", f"{tmp_path}/dogs/") == {"1.png": "cats", "2.png": "dogs"}


def test_known_classes_are_found_at_the_depth_that_they_had(tmp_path: Path) -> None:
    root = draw(tmp_path, "cats/2019/1.png", "cats/2020/2.png")
    assert labelled(root, classes=["cats", "dogs"]) == {"1.png": "cats", "2.png": "cats"}
    assert labelled(root, classes=["2019", "2020"]) == {"1.png": "2019", "2.png": "2020"}
    assert labelled(f"{root}/cats", classes=["2019", "2020"]) == {"1.png": "2019", "2.png": "2020"}
    with pytest.raises(DataError, match=r"the folder 2019 is a class that was not trained on; there are birds, dogs"):
        labelled(root, classes=["birds", "dogs"])


def test_pictures_beside_the_folders_of_classes_are_refused(tmp_path: Path) -> None:
    root = draw(tmp_path / "data", "cats/1.png", "dogs/2.png", "3.png")
    with pytest.raises(DataError, match=r"pictures lie in data itself, beside folders that could be classes"):
        labelled(root)


def test_what_is_hidden_is_no_class_and_classes_are_told(tmp_path: Path) -> None:
    draw(tmp_path, "cats/1.png", "cats/.ipynb_checkpoints/1-checkpoint.png", ".ipynb_checkpoints/2.png", "dogs/._3.png")
    root = draw(tmp_path, "dogs/4.png", "_other/5.png")
    (tmp_path / "notes.txt").touch()
    assert labelled(root) == {"1.png": "cats", "4.png": "dogs", "5.png": "_other"}
    assert find(layout_of("classes").ROLES, [root], ACCESS).says() == [
        "3 pictures of 3 classes: _other (1), cats (1), dogs (1)",
        "ignored, no samples: 3 hidden, 1 .txt",
    ]


# ---------------------------------------------------------------------------------------------------------- links, masks


def masks(folder: Path, *names: str) -> Path:
    draw(folder, *(f"{kind}/{name}.png" for kind in ("images", "labels") for name in names))
    return folder


def test_parts_and_roles_that_are_links_are_parts_and_roles(tmp_path: Path) -> None:
    train, val = masks(tmp_path / "store/a", "1", "2"), masks(tmp_path / "store/b", "3")
    for name, target in (("train", train), ("val", val)):
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set" / name).symlink_to(target)
    (tmp_path / "set/classes.json").write_text(json.dumps({"classes": ["a", "b"]}))
    found = split(layout_of("masks").ROLES, [str(tmp_path / "set")], [], 0.1, 0, ACCESS)
    assert (len(found.train), len(found.held_out or [])) == (2, 1)
    assert found.has_own
    judged, says = to_evaluate(layout_of("masks").ROLES, [str(tmp_path / "set")], "auto", frozenset(), ACCESS)
    assert (len(judged), says) == (1, "1 samples in val")
    pictures = split(layout_of("pictures").ROLES, [str(tmp_path / "set")], [], 0.1, 0, ACCESS)
    assert (len(pictures.train), len(pictures.held_out or [])) == (4, 2)
    (tmp_path / "roles").mkdir()
    for role in ("images", "labels"):
        (tmp_path / "roles" / role).symlink_to(train / role)
    assert len(find(layout_of("masks").ROLES, [str(tmp_path / "roles")], ACCESS)) == 2


def test_hidden_files_among_pictures_or_masks_pair_with_nothing_and_are_counted(tmp_path: Path) -> None:
    root = masks(tmp_path, "1", "2")
    draw(root, "images/._1.png", "images/.ipynb_checkpoints/1-checkpoint.png", "labels/._2.png")
    found = find(layout_of("masks").ROLES, [str(root)], ACCESS)
    assert (len(found), found.ignored) == (2, {"hidden": 3})
