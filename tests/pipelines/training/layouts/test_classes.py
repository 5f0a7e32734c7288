"""Classes are the folders that a person sees, and what is hidden is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelmill.pipelines.training.layouts.registry import find, layout_of
from pixelmill.workers.errors import DataError
from tests.pipelines.training.drawn import ACCESS, draw


def labelled(*uris: str, classes: list[str] | None = None) -> dict[str, str]:
    """The class of each picture, by its name."""
    found = find(layout_of("classes").ROLES, uris, ACCESS, classes)
    assert found.labels is not None
    names = found.classes or []
    return {Path(name).name: names[label] for name, label in zip(found.names(), found.labels, strict=True)}


def test_a_class_is_the_first_folder_below_the_data_whatever_lies_in_it(tmp_path: Path) -> None:
    root = draw(tmp_path, "cats/2019/1.png", "cats/2020/2.png", "dogs/2019/3.png", "dogs/4.png")
    assert labelled(root) == {"1.png": "cats", "2.png": "cats", "3.png": "dogs", "4.png": "dogs"}


def test_which_folder_is_the_class_is_reported_where_folders_lie_in_it(tmp_path: Path) -> None:
    root = draw(tmp_path, "set/cats/2019/may/1.png", "set/dogs/4.png")
    note, counts = find(layout_of("classes").ROLES, [root], ACCESS).says()
    assert note.endswith("the first folder below the data, whatever folders lie in it: cats/2019/may/1.png is cats")
    assert counts == "2 pictures of 2 classes: cats (1), dogs (1)"
    flat = draw(tmp_path / "flat", "cats/1.png", "dogs/4.png")
    assert len(find(layout_of("classes").ROLES, [flat], ACCESS).says()) == 1


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


def test_what_is_hidden_is_no_class_and_classes_are_reported(tmp_path: Path) -> None:
    draw(tmp_path, "cats/1.png", "cats/.ipynb_checkpoints/1-checkpoint.png", ".ipynb_checkpoints/2.png", "dogs/._3.png")
    root = draw(tmp_path, "dogs/4.png", "_other/5.png")
    (tmp_path / "notes.txt").touch()
    assert labelled(root) == {"1.png": "cats", "4.png": "dogs", "5.png": "_other"}
    assert find(layout_of("classes").ROLES, [root], ACCESS).says() == [
        "3 pictures of 3 classes: _other (1), cats (1), dogs (1)",
        "ignored, no samples: 3 hidden, 1 .txt",
    ]
