"""An archive of 200 series with planted defects, indexed from S3, killed and resumed."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pixelmill.jobs.id_keys import VARIABLE
from tests.faults.conftest import Mine
from tests.phantoms import found_series, write_archive
from tests.support import Run, assert_every_input_in_one_row

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(3600)]

SERIES = 200


def test_an_index_that_was_killed_finds_exactly_what_was_planted(mine: Mine, tmp_path: Path) -> None:
    planted, failed = write_archive(tmp_path / "archive", SERIES)
    objects = sum(1 for path in (tmp_path / "archive").rglob("*") if path.is_file()) - 3
    mine.gateway.put_folder(mine.bucket, "in", tmp_path / "archive")
    mine.home.environment[VARIABLE] = "a key for tests only"
    command = ["ct", "index", mine.source, mine.out]
    with Run(mine.home, *command) as run:
        run.wait_until(lambda: len(mine.output.finished_uris()) > 0.2 * objects, "a fifth was done", 3000)
        run.kill()
        assert run.wait_until_gone() == []
    assert 0.2 * objects < mine.seal() < objects
    with Run(mine.home, *command) as run:
        assert run.wait(3000) == 0, run.stderr
    assert mine.fetched_again() == {}
    assert sum(assert_every_input_in_one_row(mine.output, inputs=objects, vector=None).values()) == failed
    assert found_series(pq.read_table(io.BytesIO(mine.output.read("series/part-00000.parquet")))) == planted
