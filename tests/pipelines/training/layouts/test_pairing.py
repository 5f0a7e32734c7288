"""Files pair by name, hidden ones with nothing."""

from __future__ import annotations

from pathlib import Path

from pixelmill.pipelines.training.layouts.registry import find, layout_of
from tests.pipelines.training.drawn import ACCESS, draw, masks


def test_hidden_files_among_pictures_or_masks_pair_with_nothing_and_are_counted(tmp_path: Path) -> None:
    root = masks(tmp_path, "1", "2")
    draw(root, "images/._1.png", "images/.ipynb_checkpoints/1-checkpoint.png", "labels/._2.png")
    found = find(layout_of("masks").ROLES, [str(root)], ACCESS)
    assert (len(found), found.ignored) == (2, {"hidden": 3})
