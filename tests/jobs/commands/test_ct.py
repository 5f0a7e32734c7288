"""`pixelmill ct index`: the series of an archive, and for what each is usable."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pixelmill.jobs import cli
from pixelmill.jobs.commands import ct
from pixelmill.jobs.id_keys import VARIABLE
from pixelmill.jobs.job import Job
from pixelmill.workers.ct.phantom_archive import CANARY
from pixelmill.workers.errors import JobError
from tests.phantoms import EVERY_DEFECT, found_series, write_archive
from tests.support import Ended, Home, Output, assert_every_input_in_one_row, pixelmill

pytestmark = pytest.mark.timeout(900)


def _index(user: Home, archive: Path, out: Path, key: str = "a key for tests only") -> Ended:
    environment = user.environment | {VARIABLE: key}
    return pixelmill(Home(user.folder, environment), "ct", "index", str(archive), str(out))


def _series(out: Path) -> pa.Table:
    return pq.read_table(io.BytesIO((out / "series/part-00000.parquet").read_bytes()))


def test_an_index_finds_exactly_the_planted_defects(user: Home, tmp_path: Path) -> None:
    planted, failed = write_archive(tmp_path / "archive", EVERY_DEFECT)
    ended = _index(user, tmp_path / "archive", tmp_path / "index")
    assert ended.code == 0, ended.stderr
    objects = sum(1 for path in (tmp_path / "archive").rglob("*") if path.is_file()) - 3
    assert (
        sum(assert_every_input_in_one_row(Output(str(tmp_path / "index")), inputs=objects, vector=None).values())
        == failed
    )
    assert found_series(_series(tmp_path / "index")) == planted
    usable = sum(count for found, count in planted.items() if found[0])
    assert f"{planted.total():,} series: {usable:,} usable in 2-D" in ended.stdout
    assert CANARY not in ended.stdout.replace(str(tmp_path), "")

    refused = _index(user, tmp_path / "archive", tmp_path / "index", key="another key for tests")
    assert refused.code == 2
    assert "key_fingerprint" in refused.stderr
    assert "another key for tests" not in refused.stderr


def test_an_archive_is_indexed_first_where_ingest_is_reported_where_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = list[tuple[str, list[str], str]]()

    def noted(job: Job, around: object, **_: object) -> str:
        ran.append((job.spec.source_uris[0], [each.stage for each in job.spec.configs], job.spec.out_options.uri))
        return ""

    monkeypatch.setattr(ct, "run_first", noted)
    monkeypatch.setattr(ct, "run_bulk", noted)
    archive, index, out = (str(tmp_path / name) for name in ("archive", "index", "out"))
    key = tmp_path / "key"
    key.write_text("a key for tests only")
    key.chmod(0o600)
    cli.app(["ct", "ingest", archive, out, "--index", index, "--key", str(key)], standalone_mode=False)
    assert ran == [(archive, ["ct-index"], index), (index, ["hu"], out)]
    with pytest.raises(JobError, match="are of the index; add --index"):
        cli.app(["ct", "ingest", index, out, "--key", str(key)], standalone_mode=False)
    assert len(ran) == 2
