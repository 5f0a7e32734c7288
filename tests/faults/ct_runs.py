"""Index and ingest an archive in S3 through kills, and hold every slice against SimpleITK, which reads it from a disk."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import SimpleITK

from pixelmill.jobs.id_keys import VARIABLE
from tests.faults.conftest import Mine
from tests.support import Output, Run

PATIENCE_S = 3000.0
TOLERANCE_HU = 0.5
SMALL_FILES = ("--set", "out.file_mb=1")
FAILURES_ARE_EXPECTED = ("--set", "run.failures=ok", "--set", "run.max_failed_fraction=1")


def upload(mine: Mine, archive: Path) -> None:
    """Put a folder below the source, and a key where the commands look for one."""
    mine.gateway.put_folder(mine.bucket, "in", archive)
    mine.home.environment[VARIABLE] = "a key for tests only"


def killed_and_resumed(
    mine: Mine, output: Output, *command: str, finished: float, members: Mapping[str, Sequence[str]] | None = None
) -> tuple[int, int]:
    """Run a command until more than `finished` inputs are done, kill its driver, and run it to its end.

    Returns how many inputs were done at the kill, and how many there are. Nothing of the killed run may live on, and no object
    of a finished input may be read again: `members` are the objects of each input, which is its own object otherwise.
    """
    with Run(mine.home, *command) as run:
        run.wait_until(lambda: len(output.finished_uris()) > finished, f"{finished} inputs were done", PATIENCE_S)
        run.kill()
        assert run.wait_until_gone() == []
    done = output.finished_uris()
    objects = {each for uri in done for each in (members[uri] if members else (uri,))}
    before = {uri: mine.gets(uri) for uri in objects}
    with Run(mine.home, *command) as run:
        assert run.wait(PATIENCE_S) == 0, run.stderr
    assert "_SUCCESS" in output.files()
    assert {uri: mine.gets(uri) for uri in objects} == before
    return len(done), len(output.listed_ids())


def members_of(series: list[dict[str, Any]]) -> dict[str, list[str]]:
    """The objects of each series, by the uri that ingest knows it by."""
    return {f"ct:{row['series_id']}": [member["uri"] for member in row["members"]] for row in series}


def series_rows(index: Output) -> list[dict[str, Any]]:
    """The rows of INDEX/series."""
    names = [name for name in index.files("series") if name.endswith(".parquet")]
    return [row for name in names for row in pq.read_table(io.BytesIO(index.read(name))).to_pylist()]


def differing_slices(mine: Mine, series: list[dict[str, Any]], archive: Path) -> tuple[int, list[str]]:
    """How many slices were compared, and those which differ from SimpleITK's by more than 0.5 HU, with their files."""
    members = {(row["series_id"], m["object_id"]): m["uri"] for row in series for m in row["members"]}
    compared, wrong = 0, list[str]()
    for row in _slices(mine.output):
        name = members[row["series_id"], row["slice_id"]].removeprefix(f"{mine.source}/")
        found_HW = np.array(row["hu"], np.int32).reshape(row["height"], row["width"])
        reference_HW = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(archive / name)))[0]
        error_hu = np.abs(found_HW - np.clip(reference_HW, -32768, 32767)).max()
        wrong += [f"{name}: {error_hu:g}"] if error_hu > TOLERANCE_HU else []
        compared += 1
    return compared, wrong


def _slices(output: Output) -> Iterator[dict[str, Any]]:
    for name in output.files("data"):
        yield from pq.read_table(io.BytesIO(output.read(name))).to_pylist()
