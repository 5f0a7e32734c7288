"""What is wrong is found before the output is touched, and a dry run finds what the run finds."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pixelmill.jobs import checks, dry_run
from pixelmill.jobs.job import Job, check_document
from pixelmill.jobs.run import run_job
from pixelmill.jobs.surroundings import Surroundings
from pixelmill.pipelines.inputs.sources import Ignored, Source, entries
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import (
    ClusterUnreachable,
    JobError,
    ModelError,
    NoRoom,
    PixelmillError,
    RunRefused,
    StoreError,
    StoreRefusal,
)
from tests.conftest import Reach
from tests.jobs.conftest import tar
from tests.servers.faulty_proxy import FaultyProxy
from tests.servers.gateway import Gateway
from tests.support import pictures

Wrong = tuple[dict[str, object], type[PixelmillError], str]
"""What is wrong with a job: keys of it, the error that it ends with, and words of that."""


def job(**keys: object) -> Job:
    document: dict[str, object] = {"version": 1, "stages": [{"embed": {"model": "torchvision:squeezenet1_1/random"}}]}
    return check_document(document | keys, name="job", environment={})


def around() -> Surroundings:
    return Surroundings({}, io.StringIO(), False, None, 0.0)


def refusal(act: Callable[[], object]) -> PixelmillError:
    with pytest.raises(PixelmillError) as raised:
        act()
    return raised.value


def tree(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with two pictures, and with what is not to be read or written."""
    pictures(tmp_path / "in", 2)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("x")
    (tmp_path / "list.txt").write_text("\n")
    (tmp_path / "shard.tar").write_bytes(tar({"0.cls": b"7"}))
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), tmp_path / "rows.parquet")
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "theirs" / "data").mkdir(parents=True)
    (tmp_path / "theirs" / "data" / "part.parquet").write_bytes(b"x")
    (tmp_path / "other" / "_run").mkdir(parents=True)
    (tmp_path / "other" / "_run" / "identity.json").write_text(
        json.dumps(job(source="elsewhere", out="other").identity())
    )
    return tmp_path


SQUEEZENET: dict[str, object] = {"model": "torchvision:squeezenet1_1/random"}
WRONG: dict[str, Wrong] = {
    "a mistyped source": ({"source": "inn"}, StoreRefusal, "inn: does not exist"),
    "an empty folder": ({"source": "empty"}, JobError, "no input was found: 0 files are there; fill it"),
    "a folder of other files": ({"source": "notes"}, JobError, "none of them an image, a .tar or a .parquet (1 .txt)"),
    "an empty list": ({"source": "list.txt"}, JobError, "it is empty, without a file, line, row or member"),
    "a tar of no pictures": ({"source": "shard.tar"}, JobError, "none of them an image, a .tar or a .parquet (1 .cls)"),
    "a table of no rows": ({"source": "rows.parquet"}, JobError, "it is empty, without a file, line, row or member"),
    "a source in the output": ({"source": "in", "out": "."}, JobError, "lies in the output folder"),
    "the output as source": ({"source": "in", "out": "in"}, JobError, "lies in the output folder"),
    "more GPUs than there are": ({"run": {"num_gpus": 1, "actors": 99}}, NoRoom, "99 workers can't be placed"),
    "nobody at the address": ({"run": {"address": "127.0.0.1:9"}}, ClusterUnreachable, "no Ray cluster answers there"),
    "an output below a file": ({"out": "file/out"}, StoreRefusal, "is a file, or has one above it"),
    "an output that is a file": ({"out": "file"}, StoreRefusal, "is a file, or has one above it"),
    "somebody's data": ({"out": "theirs"}, RunRefused, "holds files that no run of pixelmill wrote"),
    "a layer that is not there": (
        {"stages": [{"embed": SQUEEZENET | {"layer": "nope"}}]},
        ModelError,
        "has no layer nope",
    ),
    "more classes than there are": (
        {"stages": [{"classify": SQUEEZENET | {"top": 1001}}]},
        ModelError,
        "has 1000 classes",
    ),
    "masks of other classes": (
        {"stages": ["segment", {"synthesize": {"from": "segment"}}]},
        ModelError,
        "stage synthesize: reads the masks of segment, whose classes are not those of its model: id 0 is sky there",
    ),
    "another job's output": ({"out": "other"}, RunRefused, "holds a run of another job"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_found_before_the_output_is_touched_and_by_a_dry_run_alike(
    here: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    keys, kind, words = WRONG[what]
    monkeypatch.chdir(here)
    wrong = job(**{"source": "in", "out": "out"} | keys)
    before = tree(here)
    told = [refusal(lambda: run_job(wrong, around())), refusal(lambda: dry_run.show_plan(wrong, around()))]
    assert [type(error) for error in told] == [kind, kind]
    assert str(told[0]) == str(told[1])
    assert words in str(told[0])
    assert tree(here) == before


@pytest.mark.parametrize("full", [True, False])
def test_a_full_or_a_forbidden_disk_is_found_before_it_is_touched(
    here: Path, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    if full:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 19))
    else:
        monkeypatch.setattr(os, "access", lambda *_: False)
    wrong = job(source=str(here / "in"), out=str(here / "new" / "out"))
    told = [refusal(lambda: run_job(wrong, around())), refusal(lambda: dry_run.show_plan(wrong, around()))]
    assert str(told[0]) == str(told[1])
    assert ("0 MB are free" if full else "access denied, writing to the output folder") in str(told[0])
    assert not (here / "new").exists()


def test_to_know_whether_there_is_an_input_one_archive_is_indexed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        (tmp_path / f"{number}.tar").write_bytes(tar({"a.jpg": b"x"}))
    opened: list[str] = []
    real = Folder(str(tmp_path), Access()).store.__class__.open
    monkeypatch.setattr(
        "fsspec.implementations.local.LocalFileSystem.open",
        lambda self, path, *a, **k: opened.append(path) or real(self, path, *a, **k),
    )
    checks.check_source(Source((str(tmp_path),)), is_new=True)
    assert [Path(path).name for path in opened] == ["0.tar"]
    assert len(list(entries(Source((str(tmp_path),)), Ignored()))) == 5


def test_to_ask_a_bucket_whether_it_may_be_written_leaves_nothing_there(gateway: Gateway, reach: Reach) -> None:
    reach(gateway.env)
    gateway.make_bucket("asked")
    out = Folder("s3://asked/out", Access(retry_for_s=0))
    checks.check_writable(out)
    assert out.store.find("asked") == []
    begun = out.store.call_s3("list_multipart_uploads", Bucket="asked")
    assert begun.get("Uploads", []) == []
    with pytest.raises(StoreError, match="does not exist, writing to the output folder"):
        checks.check_writable(Folder("s3://asked-nowhere/out", Access(retry_for_s=0)))


def test_a_bucket_that_is_asked_may_lose_its_answers(gateway: Gateway, reach: Reach) -> None:
    gateway.make_bucket("deaf")
    with FaultyProxy(gateway) as proxy:
        reach(proxy.env)
        proxy.set(lose_first=True)  # of the abortion too, and the next one finds no upload
        checks.check_writable(Folder("s3://deaf/out", Access(retry_for_s=30)))
        assert proxy.faults["cut"] == 2


@pytest.mark.parametrize("cause", [FileNotFoundError("a"), NotADirectoryError("a"), FileExistsError("a")])
def test_a_wrong_name_is_the_job_s_fault_and_a_right_or_room_that_is_missing_is_not(cause: Exception) -> None:
    with pytest.raises(StoreRefusal, match="s3://a: "), checks.nothing_started(), explained("s3://a", "listing"):
        raise cause
    for other in (PermissionError("no"), OSError(errno.ENOSPC, "full"), ConnectionError("gone")):
        with pytest.raises(StoreError) as found, checks.nothing_started(), explained("s3://a", "listing"):
            raise other
        assert not isinstance(found.value, JobError)
