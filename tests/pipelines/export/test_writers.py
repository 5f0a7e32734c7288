"""Shards are what the package webdataset reads: samples of a JSON and the pictures, no shard much larger than asked."""

from __future__ import annotations

import gc
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from PIL import Image

from pixelmill.jobs.export import Asked, export
from pixelmill.pipelines.stores.folder import Folder
from tests.pipelines.export.drawn import SCALE, make_run

pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)  # webdataset leaves the shards that it read open

NAMES = [f"{folder}/{number}.v2.png" for folder in ("a", "b.x") for number in range(6)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    photos = {name: (20 * index, 90, 30) for index, name in enumerate(NAMES)}
    return make_run(tmp_path_factory.mktemp("run"), photos)


def shards(run: Folder, place: Path, *columns: str, shard_mb: int = 128) -> list[str]:
    export(Asked(run.uri, str(place), columns, shards="webdataset", shard_mb=shard_mb), lambda _: None)
    return sorted(str(path) for path in place.glob("*.tar"))


def samples_of(paths: list[str], decoded: str | None = None) -> list[dict[str, Any]]:
    dataset = webdataset.WebDataset(paths, shardshuffle=False)
    found = list(dataset if decoded is None else dataset.decode(decoded))
    gc.collect()  # closes the shards here and not in another test
    return found


def test_webdataset_reads_every_sample_once_with_its_json_and_its_pictures(run: Folder, tmp_path: Path) -> None:
    paths = shards(run, tmp_path / "to")
    samples = samples_of(paths, "pil")
    assert sorted(sample["__key__"] for sample in samples) == sorted(name.replace(".v2.png", "_v2") for name in NAMES)
    for sample in samples:
        assert {"json", "shown.jpg", "mask.png", "depth_m.png"} <= set(sample)
        assert sample["json"]["uri"].endswith(sample["__key__"].replace("_v2", ".v2.png"))
        assert sample["json"]["depth_m_scale"] == SCALE
        assert len(sample["json"]["levels"]) == 100
        assert isinstance(sample["shown.jpg"], Image.Image)
        assert np.asarray(sample["mask.png"]).shape[:2] == (6, 8)


def test_one_column_has_plain_suffixes_and_shards_are_numbered_without_a_gap(run: Folder, tmp_path: Path) -> None:
    paths = shards(run, tmp_path / "to", "shown")
    assert [Path(path).name for path in paths] == [f"shard-{number:06d}.tar" for number in range(len(paths))]
    assert len(paths) > 1
    with tarfile.open(paths[0]) as tar:
        names = tar.getnames()
    assert [Path(name).suffix for name in names[:2]] == [".json", ".jpg"]


def test_a_shard_is_cut_where_it_would_get_too_large(
    run: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = shards(run, tmp_path / "few", "shown")
    monkeypatch.setattr("pixelmill.jobs.export.MB", 3000)
    many = shards(run, tmp_path / "many", "shown", shard_mb=1)
    assert len(many) > len(few)
    keys = [sample["__key__"] for sample in samples_of(many)]
    assert sorted(keys) == sorted(name.replace(".v2.png", "_v2") for name in NAMES)


def test_the_index_names_the_shard_of_each_file(run: Folder, tmp_path: Path) -> None:
    paths = shards(run, tmp_path / "to", "shown")
    lines = [
        json.loads(line) for path in (tmp_path / "to/_export/index").iterdir() for line in path.read_text().splitlines()
    ]
    assert len(lines) == len(NAMES)
    for line in lines:
        assert any(path.endswith(line["shard"]) for path in paths)
        with tarfile.open(tmp_path / "to" / line["shard"]) as tar:
            assert line["file"] in tar.getnames()


def test_an_interrupted_part_keeps_its_shards_though_another_part_came_before_it(run: Folder, tmp_path: Path) -> None:
    whole = shards(run, tmp_path / "whole", "shown")
    place = tmp_path / "to"
    shards(run, place, "shown")
    records = sorted((place / "_export/parts").glob("*.json"))
    last = records[-1]
    last.unlink()  # its shards are there, and nothing says that it is finished
    earlier = records[0]
    kept = json.loads(earlier.read_text())
    earlier.unlink()
    earlier.with_suffix(".begun").unlink()
    for number in range(kept["next_shard"]):
        (place / f"shard-{number:06d}.tar").unlink()
    shards(run, place, "shown")
    samples = samples_of(sorted(map(str, place.glob("*.tar"))))
    assert sorted(sample["__key__"] for sample in samples) == sorted(name.replace(".v2.png", "_v2") for name in NAMES)
    assert len(whole) == len(list(place.glob("*.tar")))
