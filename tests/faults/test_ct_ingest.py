"""A CT archive in S3 is ingested, killed and resumed: every series is whole or filed, once, and no finished one is read again."""

from __future__ import annotations

import io
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pixelmill.jobs.id_keys import VARIABLE
from pixelmill.workers.ct.volume_options import VolumeOptions
from pixelmill.workers.errors import RowError
from tests.ct_series import index_of, ingested
from tests.faults.conftest import Mine
from tests.phantoms import write_archive
from tests.support import Output, Run

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(3600)]

SERIES = 69
BLOCK = (16, 16, 16)
VOLUMES = ("--volumes", "--spacing", "2", "--block", "16x16x16", "--shear-tilt")
SMALL_FILES = ("--set", "out.file_mb=1", "--set", "run.failures=ok", "--set", "run.max_failed_fraction=1")


def _members(mine: Mine) -> dict[str, list[str]]:
    """The objects of each series, by the uri that ingest knows it by."""
    table = pq.read_table(io.BytesIO(Output(f"{mine.out}-index", mine.gateway.env).read("series/part-00000.parquet")))
    return {f"ct:{row['series_id']}": [member["uri"] for member in row["members"]] for row in table.to_pylist()}


def _fingerprints(output: Output) -> Counter[tuple[Any, ...]]:
    rows = output.table("data").select(["place", "hu"]).to_pylist()
    return Counter((row["place"], zlib.crc32(np.array(row["hu"], "<i2").tobytes())) for row in rows)


def _expected(archive: Path, scratch: Path, volumes: VolumeOptions | None) -> tuple[Counter[tuple[Any, ...]], int]:
    """What the same archive gives in this process, without a run: rows, and how many series fail. Ids of series without a uid
    follow from their folders, which differ."""
    index, _ = index_of(archive, scratch)
    rows, failed = Counter[tuple[Any, ...]](), 0
    for _, found in ingested(index, volumes):
        if isinstance(found, RowError):
            failed += 1
            continue
        for place, each in enumerate(found):
            values = each.picture.pixels.numpy().astype("<i2")
            rows[(place, zlib.crc32(values.tobytes()))] += 1
    return rows, failed


@pytest.mark.parametrize("options", [(), VOLUMES], ids=["slices", "blocks"])
def test_an_ingest_that_was_killed_ends_as_one_that_was_not(
    mine: Mine, tmp_path: Path, options: tuple[str, ...]
) -> None:
    write_archive(tmp_path / "archive", SERIES, side_px=32)
    mine.gateway.put_folder(mine.bucket, "in", tmp_path / "archive")
    mine.home.environment[VARIABLE] = "a key for tests only"
    with Run(mine.home, "ct", "index", mine.source, f"{mine.out}-index") as run:
        assert run.wait(3000) == 0, run.stderr
    members = _members(mine)
    command = ["ct", "ingest", f"{mine.out}-index", mine.out, *options, *SMALL_FILES]
    with Run(mine.home, *command) as run:
        run.wait_until(lambda: len(mine.output.finished_uris()) > 0, "a first part was done", 3000)
        run.kill()
        assert run.wait_until_gone() == []
    finished = set(mine.output.finished_uris())
    before = {uri: mine.gets(uri) for series in finished for uri in members[series]}
    with Run(mine.home, *command) as run:
        assert run.wait(3000) == 0, run.stderr
    listed, data, failed = mine.output.listed_ids(), mine.output.table("data"), mine.output.table("failed")
    assert 0 < len(finished) < len(listed)
    assert {uri: mine.gets(uri) for uri in before} == before
    assert sorted(listed) == sorted({*data["id"].to_pylist(), *failed["id"].to_pylist()})
    assert not set(data["id"].to_pylist()) & set(failed["id"].to_pylist())
    volumes = VolumeOptions((2.0, 2.0, 2.0), BLOCK, shear_tilt=True) if options else None
    expected = _expected(tmp_path / "archive", tmp_path / "index", volumes)
    assert (_fingerprints(mine.output), failed.num_rows) == expected
    assert "_SUCCESS" in mine.output.files()
