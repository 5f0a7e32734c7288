"""Parts and roles are found through links."""

from __future__ import annotations

import json
from pathlib import Path

from pixelmill.pipelines.training.layouts.registry import find, layout_of
from pixelmill.pipelines.training.splits import split
from pixelmill.pipelines.training.unseen import Seen, to_evaluate
from tests.pipelines.training.drawn import ACCESS, masks


def test_parts_and_roles_that_are_links_are_parts_and_roles(tmp_path: Path) -> None:
    train, val = masks(tmp_path / "store/a", "1", "2"), masks(tmp_path / "store/b", "3")
    for name, target in (("train", train), ("val", val)):
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set" / name).symlink_to(target)
    (tmp_path / "set/classes.json").write_text(json.dumps({"classes": ["a", "b"]}))
    found = split(layout_of("masks").ROLES, [str(tmp_path / "set")], [], 0.1, 0, ACCESS)
    assert (len(found.train), len(found.test or [])) == (1, 1)
    assert found.has_own
    seen = Seen(frozenset({"0"}), frozenset())
    judged = to_evaluate(layout_of("masks").ROLES, [str(tmp_path / "set")], "auto", seen, ACCESS)
    assert (len(judged.data), judged.says) == (1, "1 samples in val")
    pictures = split(layout_of("pictures").ROLES, [str(tmp_path / "set")], [], 0.1, 0, ACCESS)
    assert (len(pictures.train), len(pictures.held_out or []), len(pictures.test or [])) == (3, 1, 2)
    (tmp_path / "roles").mkdir()
    for role in ("images", "labels"):
        (tmp_path / "roles" / role).symlink_to(train / role)
    assert len(find(layout_of("masks").ROLES, [str(tmp_path / "roles")], ACCESS)) == 2
