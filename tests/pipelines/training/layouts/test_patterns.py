"""A pattern names the files of every role; what stands for its * is the name that pairs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.layouts.patterns import is_pattern
from pixelmill.pipelines.training.layouts.registry import find, layout_of
from pixelmill.workers.errors import DataError, StoreError
from tests.pipelines.training.drawn import ACCESS, draw

MASKS, STEREO = layout_of("masks").ROLES, layout_of("stereo").ROLES


def below(root: Path, found: DataSet) -> list[tuple[str, ...]]:
    columns = [[str(Path(uri).relative_to(root)) for uri in table["uri"].to_pylist()] for table in found.roles.values()]
    return list(zip(*columns, strict=True))


def test_pictures_and_masks_of_any_folders_and_endings_pair(tmp_path: Path) -> None:
    draw(tmp_path, "imgs/1.png", "imgs/2.png", "masks/2_seg.png", "masks/1_seg.png", "masks/unrelated.png")
    (tmp_path / "classes.json").write_text('{"classes": ["a", "b"]}')
    found = find(MASKS, [f"{tmp_path}/{{imgs/*.png,masks/*_seg.png}}"], ACCESS)
    assert below(tmp_path, found) == [("imgs/1.png", "masks/1_seg.png"), ("imgs/2.png", "masks/2_seg.png")]
    assert found.constants == {"classes": b'{"classes": ["a", "b"]}'}


def test_views_of_kitti_of_middlebury_and_with_endings_pair(tmp_path: Path) -> None:
    draw(tmp_path, "image_02/data/0.png", "image_03/data/0.png", "left/1_l.png", "right/1_r.png")
    draw(tmp_path, "sets/chess/im0.png", "sets/chess/im1.png", "sets/bike/im0.png", "sets/bike/im1.png", "depth/1.png")
    for pattern, expected in {
        "{image_02/data/*.png,image_03/data/*.png}": [("image_02/data/0.png", "image_03/data/0.png")],
        "{left/*_l.png,right/*_r.png}": [("left/1_l.png", "right/1_r.png")],
        "{left/*_l.png,right/*_r.png,depth/*.png}": [("left/1_l.png", "right/1_r.png", "depth/1.png")],
        "sets/*/{im0.png,im1.png}": [(f"sets/{name}/im0.png", f"sets/{name}/im1.png") for name in ("bike", "chess")],
    }.items():
        assert below(tmp_path, find(STEREO, [f"{tmp_path}/{pattern}"], ACCESS)) == expected


def test_what_does_not_pair_and_patterns_that_are_none_are_refused(tmp_path: Path) -> None:
    draw(tmp_path, "a/1.png", "a/2.png", "b/1.png")
    with pytest.raises(DataError, match=r"2 has no file in .*/b/\*\.png"):
        find(MASKS, [f"{tmp_path}/{{a/*.png,b/*.png}}"], ACCESS)
    for pattern in ("{a/*.png,b/*.png,c/*.png}", "{a/*.png,b/1.png}", "{a/*/*.png,b/*.png}"):
        with pytest.raises(DataError, match=r"alternative in braces for image, label"):
            find(MASKS, [f"{tmp_path}/{pattern}"], ACCESS)
    with pytest.raises(StoreError, match=r"c/\*\.png: does not exist"):
        find(MASKS, [f"{tmp_path}/{{c/*.png,d/*.png}}"], ACCESS)
    with pytest.raises(DataError, match="no pictures are there"):
        find(MASKS, [f"{tmp_path}/{{a/*.jpg,b/*.jpg}}"], ACCESS)
    assert not is_pattern(f"{tmp_path}/a")
    assert not is_pattern("shards/{000..002}.tar")
