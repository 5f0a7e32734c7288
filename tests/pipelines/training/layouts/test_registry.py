"""A layout is found by the roles that a recipe states; adding one is a file and a line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from pixelmill.pipelines.inputs.sources import Ignored
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.folders import children
from pixelmill.pipelines.training.layouts import registry
from pixelmill.pipelines.training.layouts.pairing import paired
from pixelmill.workers.recipes import Role
from pixelmill.workers.recipes.registry import RECIPES, recipe_type

ACCESS = Access(retry_for_s=0.0)


class FramesAndIds:
    """frames/NAME.*, ids/NAME.png: the roles of the masks that there are, in folders of other names."""

    ROLES: ClassVar[tuple[Role, ...]] = (Role("image", "picture"), Role("label", "class map"))

    def is_here(self, uris: Sequence[str], access: Access) -> bool:
        return all({"frames", "ids"} <= children(uri, access).keys() for uri in uris)

    def find(self, uris: Sequence[str], access: Access, classes: Sequence[str] | None) -> DataSet:
        (uri,) = uris
        return DataSet(paired(uri, {"image": "frames", "label": "ids"}, access, Ignored()), access)


def touch(root: Path, *names: str) -> str:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return str(root)


def test_every_recipe_has_a_layout_and_every_layout_a_recipe() -> None:
    found = {name: registry.layouts_for(recipe_type(name).ROLES) for name in RECIPES}
    assert all(found.values())
    assert {layout for layouts in found.values() for layout in layouts} == set(registry.LAYOUTS)
    assert (found["vae"], found["finetune"]) == (["pictures"], ["classes"])
    assert (found["unet"][0], found["monodepth"]) == ("masks", ["stereo"])


def test_a_layout_gives_the_roles_that_it_states(tmp_path: Path) -> None:
    root = touch(tmp_path, "left/1.png", "right/1.png", "depth/1.png", "calib.json")
    stereo = registry.layout_of("stereo")
    assert list(stereo.find([root], ACCESS, None).roles) == [role.name for role in stereo.ROLES]
    masks = registry.layout_of("masks")
    root = touch(tmp_path, "images/1.png", "labels/1.png")
    assert list(masks.find([root], ACCESS, None).roles) == [role.name for role in masks.ROLES]


def test_a_new_layout_is_found_where_its_data_lies_and_leaves_the_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = touch(tmp_path / "old", "images/1.jpg", "labels/1.png")
    new = touch(tmp_path / "new", "frames/2.jpg", "ids/2.png")
    roles = recipe_type("unet").ROLES
    monkeypatch.setitem(registry.LAYOUTS, "frames", f"{__name__}:FramesAndIds")
    assert registry.layouts_for(roles)[-1] == "frames"
    assert registry.find(roles, [new], ACCESS).names() == [f"{tmp_path}/new/frames/2.jpg"]
    assert registry.find(roles, [old], ACCESS).names() == [f"{tmp_path}/old/images/1.jpg"]
