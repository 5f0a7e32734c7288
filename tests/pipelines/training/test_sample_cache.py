"""Decoded samples are kept between trainings: for the same data and code only, whole or not at all, within a bound."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.mapped_samples import DATA
from pixelmill.pipelines.training.sample_cache import SampleCache, cache_key
from pixelmill.pipelines.training.samples import Memory, open_samples
from pixelmill.workers.errors import RowError
from pixelmill.workers.recipes import RecipeSettings
from tests.pipelines.training.sources import Verbatim, decoder, listed, numbers, some


class Settings(RecipeSettings):
    size_px: int = 8


class Kept(Verbatim):
    """A recipe with settings of its own."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.settings = Settings(**settings)


def cache(tmp_path: Path, most_bytes: int = 1 << 20, code: str = "1") -> SampleCache:
    return SampleCache(str(tmp_path / "cache/samples"), most_bytes, code)


def opened(tmp_path: Path, data: DataSet, recipe: Kept | None = None, **options: Any) -> tuple[list[int], int]:
    """The samples, and how many files were read for them besides the few that are measured."""
    recipe = recipe or Kept()
    made = decoder(data, 10, recipe)
    found = cache(tmp_path, **options).opened(made)
    assert found is not None
    return numbers(sample for sample in found if sample is not None), len(recipe.read)


def entries(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache/samples").iterdir() if path.suffix != ".lock")


def test_what_was_decoded_once_is_not_decoded_again(tmp_path: Path) -> None:
    data = some(tmp_path / "in", 5)
    assert opened(tmp_path, data) == ([0, 1, 2, 3, 4], 5)
    assert opened(tmp_path, data) == ([0, 1, 2, 3, 4], 0)
    assert opened(tmp_path, data, Kept(epochs=9, batch=3, seed=5)) == ([0, 1, 2, 3, 4], 0)
    assert opened(tmp_path, data, Kept(size_px=9))[1] == 5
    assert opened(tmp_path, data, code="2")[1] == 5
    assert opened(tmp_path, data.take([0, 1]))[1] == 2


def test_a_file_that_changed_is_decoded_again(tmp_path: Path) -> None:
    opened(tmp_path, some(tmp_path / "in", 3))
    (tmp_path / "in/001.png").write_bytes(b"77")
    assert opened(tmp_path, listed(tmp_path / "in")) == ([0, 77, 2], 3)


def test_each_fact_of_the_data_changes_the_key_and_without_versions_there_is_none(tmp_path: Path) -> None:
    data, recipe = some(tmp_path, 3), Kept()
    others = [
        data.take([1, 0, 2]),
        replace(data, labels=np.array([0, 1, 0])),
        replace(data, constants={"classes": b"[]"}),
        replace(data, roles={"other": data.first}),
    ]
    keys = {cache_key(each, recipe, "1") for each in (data, *others)}  # type: ignore[arg-type]
    assert len(keys) == 5
    unknown = data.first.drop_columns(["version"]).append_column("version", [[None, "1", "2"]])
    unknown = unknown.select(data.first.column_names)
    assert cache_key(replace(data, roles={"image": unknown}), recipe, "1") is None  # type: ignore[arg-type]


def test_broken_samples_are_known_again(tmp_path: Path) -> None:
    data = some(tmp_path / "in", 5, 2)
    for _ in range(2):
        made = decoder(data, 10, Kept())
        found = cache(tmp_path).opened(made)
        assert found is not None
        assert found[2] is None
        assert made.broken.errors[2].error_type == "BadSample"


def test_what_could_not_be_read_is_read_again_next_time(tmp_path: Path) -> None:
    data = some(tmp_path / "in", 3)
    (tmp_path / "in/001.png").unlink()
    for _ in range(2):
        assert opened(tmp_path, data) == ([0, 2], 2)
    assert entries(tmp_path) == []


def test_an_entry_that_is_damaged_is_made_again(tmp_path: Path) -> None:
    data = some(tmp_path / "in", 4)
    opened(tmp_path, data)
    (entry,) = (tmp_path / "cache/samples").glob("*/")
    (entry / DATA).write_bytes(b"")
    assert opened(tmp_path, data) == ([0, 1, 2, 3], 4)
    damaged = bytearray((entry / DATA).read_bytes())
    damaged[64] ^= 255
    (entry / DATA).write_bytes(damaged)
    assert opened(tmp_path, data) == ([0, 1, 2, 3], 1)
    assert opened(tmp_path, data) == ([0, 1, 2, 3], 4)
    assert opened(tmp_path, data) == ([0, 1, 2, 3], 0)


def test_the_entry_that_was_used_longest_ago_makes_room(tmp_path: Path) -> None:
    first, second, third = (some(tmp_path / name, 4) for name in "abc")
    opened(tmp_path, first)
    (entry,) = (tmp_path / "cache/samples").glob("*/")
    os.utime(entry / "entry.json", (1, 1))
    most_bytes = 2 * sum(file.stat().st_size for file in entry.iterdir()) + 20
    opened(tmp_path, second, most_bytes=most_bytes)
    for other in {*(tmp_path / "cache/samples").glob("*/")} - {entry}:
        os.utime(other / "entry.json", (2, 2))  # the clock of files may not tell it from what comes next
    assert opened(tmp_path, first, most_bytes=most_bytes)[1] == 0  # used now, and before the second
    assert opened(tmp_path, third, most_bytes=most_bytes)[1] == 4
    assert len(entries(tmp_path)) == 2
    assert [opened(tmp_path, data, most_bytes=most_bytes)[1] for data in (first, third, second)] == [0, 0, 4]


def test_data_larger_than_the_cache_is_not_kept(tmp_path: Path) -> None:
    data = some(tmp_path / "in", 4)
    assert cache(tmp_path, 39).opened(decoder(data, 10, Kept())) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("make", ["open", "link"])
def test_a_folder_that_others_may_enter_or_that_is_a_link_is_not_used(tmp_path: Path, make: str) -> None:
    folder = tmp_path / "cache/samples"
    folder.parent.mkdir()
    if make == "open":
        folder.mkdir(mode=0o755)
    else:
        (tmp_path / "theirs").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "theirs")
    assert cache(tmp_path).opened(decoder(some(tmp_path / "in", 2), 10, Kept())) is None  # type: ignore[arg-type]
    assert list(folder.iterdir()) == []


def test_the_folder_is_its_users_alone(tmp_path: Path) -> None:
    opened(tmp_path, some(tmp_path / "in", 2))
    assert (tmp_path / "cache/samples").stat().st_mode & 0o777 == 0o700


def test_two_at_once_decode_once(tmp_path: Path) -> None:
    data, read = some(tmp_path / "in", 6), list[int]()
    threads = [threading.Thread(target=lambda: read.append(opened(tmp_path, data)[1])) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(read) == [0, 0, 6]


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.pipelines.training.sources import decoder, some
from tests.pipelines.training.test_sample_cache import Kept, cache
class Dies(Kept):
    def decode(self, files):
        if len(self.read) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().decode(files)
place = Path(sys.argv[1])
made = decoder(some(place / "in", 300), 10, Dies())
cache(place).opened(made)
"""


def test_a_writer_that_is_killed_leaves_nothing_that_counts_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [name[-5:] for name in entries(tmp_path)] == [".part"]
    data = listed(tmp_path / "in")
    assert opened(tmp_path, data) == (list(range(300)), 300)
    assert len(entries(tmp_path)) == 1
    assert opened(tmp_path, data)[1] == 0


def test_samples_on_disk_are_those_of_memory_in_the_same_order(tmp_path: Path) -> None:
    data, recipe = some(tmp_path / "in", 9, 4), Kept()
    kept, plain = (
        open_samples(data, recipe, 1 << 20, disk=disk)  # type: ignore[arg-type]
        for disk in (cache(tmp_path), None)
    )
    assert isinstance(kept, Memory)
    assert numbers(kept) == numbers(plain)
    assert kept.in_blocks == plain.in_blocks
    assert kept.broken is not None
    assert isinstance(kept.broken.errors[4], RowError)
