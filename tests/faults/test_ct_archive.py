"""Archives in S3 are indexed and ingested, each killed and resumed: a generated one of 200 series, and the real ones."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tests.faults.conftest import Mine
from tests.faults.ct_runs import (
    FAILURES_ARE_EXPECTED,
    SMALL_FILES,
    differing_slices,
    killed_and_resumed,
    members_of,
    series_rows,
    upload,
)
from tests.phantoms import found_series, write_archive
from tests.shared_data import SHARED_DATA
from tests.support import Output, assert_every_input_in_one_row

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(3600)]

SERIES = 200


def _index(mine: Mine) -> Output:
    return Output(f"{mine.out}-index", mine.gateway.env)


def test_an_index_and_an_ingest_that_were_killed_find_exactly_what_was_planted(mine: Mine, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    planted, failed = write_archive(archive, SERIES, side_px=32)
    objects = sum(1 for path in archive.rglob("*") if path.is_file()) - 3
    upload(mine, archive)
    command = ["ct", "index", mine.source, f"{mine.out}-index"]
    done, listed = killed_and_resumed(mine, _index(mine), *command, finished=0.2 * objects)
    assert 0.2 * objects < done < listed == objects
    assert sum(assert_every_input_in_one_row(_index(mine), inputs=objects, vector=None).values()) == failed
    series = series_rows(_index(mine))
    assert found_series(pa.Table.from_pylist(series)) == planted

    usable = [row for row in series if row["usable_2d"]]
    command = ["ct", "ingest", f"{mine.out}-index", mine.out, *SMALL_FILES]
    done, listed = killed_and_resumed(mine, mine.output, *command, finished=0, members=members_of(series))
    assert 0 < done < listed == len(usable)
    assert mine.output.table("failed").num_rows == 0
    slices = sum(len(row["members"]) for row in usable)
    assert differing_slices(mine, series, archive) == (slices, [])


@pytest.mark.shared_data
def test_real_archives_are_those_of_an_independent_reader_through_kills(mine: Mine, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    for name in ("dicom", "dicom_cases"):
        (archive / name).symlink_to(SHARED_DATA / "ct" / name)
        mine.gateway.put_folder(mine.bucket, f"in/{name}", SHARED_DATA / "ct" / name)
    upload(mine, tmp_path / "nothing more")
    command = ["ct", "index", mine.source, f"{mine.out}-index"]
    done, listed = killed_and_resumed(mine, _index(mine), *command, finished=0)
    assert 0 < done < listed == sum(1 for path in (SHARED_DATA / "ct").glob("dicom*/**/*") if path.is_file())
    series = series_rows(_index(mine))
    command = ["ct", "ingest", f"{mine.out}-index", mine.out, *SMALL_FILES, *FAILURES_ARE_EXPECTED]
    done, listed = killed_and_resumed(mine, mine.output, *command, finished=0, members=members_of(series))
    assert 0 < done < listed == sum(row["usable_2d"] for row in series)
    compared, wrong = differing_slices(mine, series, archive)
    assert (compared, wrong) == (238 + 19, [])
    assert mine.output.table("failed")["error_type"].to_pylist() == ["NotHu"] * 4  # of 8 bits behind an intercept
