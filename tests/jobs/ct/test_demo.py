"""The demo of CT in small: what was planted is found, and everything stays inside its folder."""

from __future__ import annotations

import stat
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pixelmill.jobs.ct import demo
from pixelmill.jobs.ct.demo import Size
from pixelmill.workers.ct.phantom_archive import CANARY, DEFECTS
from tests.support import Home, pixelmill

SMALL = Size(series=len(DEFECTS), slices=12, side_px=16, steps=0)


def test_an_archive_that_is_made_again_is_left_as_it_was(tmp_path: Path) -> None:
    few = Size(series=3, slices=4, side_px=16)
    planted, failing = demo.make_archive(tmp_path, few)
    assert [defect.name for defect in planted] == [defect.name for defect in DEFECTS[:3]]
    assert failing == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    demo.make_archive(tmp_path, few)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_all_objects_of_a_truncated_series_and_one_of_a_malformed_one_must_fail(tmp_path: Path) -> None:
    _, failing = demo.make_archive(tmp_path, SMALL)
    assert failing == 12 + 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_command_finds_what_was_planted_shows_it_and_pretrains(user: Home, tmp_path: Path) -> None:
    ended = pixelmill(user, "ct", "demo", str(tmp_path / "demo"), timeout_s=1700)  # a minute of two idle cores
    assert ended.code == 0, ended.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo"]
    assert stat.S_IMODE((tmp_path / "demo/ct.key").stat().st_mode) == 0o600
    sheets = [line.strip() for line in ended.stdout.partition("look at:")[2].splitlines() if line.strip()]
    assert len(sheets) >= 3
    assert all(Path(sheet).read_bytes().startswith(b"\x89PNG") for sheet in sheets)
    assert CANARY not in ended.stdout + ended.stderr
    assert "codes of " in ended.stdout
    assert {"learned.png", "curve.png"} <= {Path(sheet).name for sheet in sheets}
    written = [path for path in (tmp_path / "demo").rglob("*") if path.is_file() and not is_of_archive(path, tmp_path)]
    assert any(path.match("codes/explore/series/series.parquet") for path in written)
    assert [path for path in written if holds_canary(path)] == []


def is_of_archive(path: Path, folder: Path) -> bool:
    """Whether a file may name objects: the archive itself, and the index, which stays with it."""
    return path.relative_to(folder / "demo").parts[0] in {"archive", "index"}


def holds_canary(path: Path) -> bool:
    """Whether the file holds the canary as it is, or in a column of text of a table."""
    if CANARY.encode() in path.read_bytes():
        return True
    return path.suffix == ".parquet" and CANARY in str(
        pq.read_table(path)
        .slice(0, 5000)
        .drop_columns(["hu"] if "hu" in pq.read_schema(path).names else [])
        .to_pylist()
    )
