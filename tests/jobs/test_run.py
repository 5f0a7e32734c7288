"""An attempt does what is pending and no more, and says that the run is complete only when every input is in a row.

A mill that makes its rows by hand stands in for the workers; no Ray runs in these tests.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest

from pixelmill.jobs import run as module
from pixelmill.jobs.host import scratch
from pixelmill.jobs.job import Job, check_document
from pixelmill.jobs.outcome import Outcome
from pixelmill.jobs.run import run_job
from pixelmill.jobs.session import cluster, ray_api
from pixelmill.jobs.session.holding import SystemClock
from pixelmill.jobs.session.ray_watchdog import RayWatchdog
from pixelmill.jobs.surroundings import Surroundings
from pixelmill.pipelines.outputs import claims
from pixelmill.pipelines.outputs.columns import ERROR_COLUMNS, INPUT_FIELDS
from pixelmill.pipelines.outputs.encoding import Compression
from pixelmill.pipelines.outputs.publishing import publish
from pixelmill.pipelines.outputs.rows import read_files
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import ClaimLost, JobStopped, PixelmillError

ERRORS = [pa.field(name, pa.string()) for name in ERROR_COLUMNS]
SCHEMA = pa.schema([*INPUT_FIELDS, pa.field("embedding", pa.list_(pa.float32(), 2)), *ERRORS])
CORRUPT = {"stage": "decode", "error_type": "Corrupt", "error": "broken"}


class Run:
    """A folder of inputs, a job over it, and what its attempts asked for; inputs called bad fail."""

    def __init__(self, folder: Path) -> None:
        self.source, self.out = folder / "in", folder / "out"
        self.milled, self.rays = list[str](), 0
        self.before_milling: Callable[[], None] = lambda: None
        self.makes_nothing = False
        self.source.mkdir()

    def add(self, *names: str) -> None:
        for name in names:
            (self.source / name).write_bytes(b"x")

    def job(self) -> Job:
        embed = {"embed": {"model": "torchvision:squeezenet1_1/random"}}
        document: dict[str, object] = {
            "version": 1, "source": str(self.source), "out": str(self.out), "stages": [embed],
            "run": {"actors": 1, "max_failed_fraction": 1.0},
        }  # fmt: skip
        return check_document(document, name="job", environment={})

    def attempt(self, *, retry: bool = False) -> Outcome:
        self.milled.clear()
        return run_job(self.job(), Surroundings({}, io.StringIO(), False, None, 0.0), retry=retry)

    def success(self) -> dict[str, Any] | None:
        file = self.out / "_SUCCESS"
        return json.loads(file.read_text()) if file.exists() else None

    def record(self, epoch: int) -> dict[str, Any]:
        return json.loads((self.out / "_run" / "attempts" / f"{epoch:04d}" / "record.json").read_text())

    def rows_of(self, uri: str) -> dict[str, object]:
        name = Path(uri).name
        self.milled.append(name)
        return CORRUPT if name.startswith("bad") else {"embedding": [1.0, 0.0]}

    def start_ray(self, *_: object, **options: object) -> Path:
        self.rays += 1
        return scratch.make()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    made = Run(tmp_path)

    class HandMill:
        """In the place of Milling."""

        def __init__(self, job: Job, source: object, around: object, session: Any, outcome: Outcome) -> None:
            self.out, self.outcome = session.out, outcome

        def do(self, parts: list[Any], segments: list[Any], *_: object) -> None:
            made.before_milling()
            inputs = pa.concat_tables(table for segment in segments for table in read_files(self.out, segment))
            for part in () if made.makes_nothing else parts:
                first = sum(each.rows for segment in segments for each in segment.parts() if each.name < part.name)
                listed = inputs.slice(first, part.rows).select(["id", "uri", "member"]).to_pylist()
                rows = pa.Table.from_pylist([row | made.rows_of(row["uri"]) for row in listed], SCHEMA)
                written = publish(self.out, part.name, rows, {}, Compression())
                self.outcome.done_now += written.done
                self.outcome.failed_now += written.failed

    monkeypatch.setattr(module, "Milling", HandMill)
    monkeypatch.setattr(cluster, "start_local", made.start_ray)
    monkeypatch.setattr(cluster, "stop", lambda _, folder: scratch.remove(folder))
    monkeypatch.setattr(ray_api, "nodes", tuple)
    monkeypatch.setattr(RayWatchdog, "start", lambda _: None)
    graph = "pixelmill.pipelines.bulk.graph"
    monkeypatch.setitem(sys.modules, graph, ModuleType(graph))  # importing ray.data takes seconds
    return made


def test_a_run_accounts_for_every_input_and_then_says_that_it_is_complete(run: Run) -> None:
    run.add("a.jpg", "b.jpg", "bad.jpg")
    outcome = run.attempt()
    assert sorted(run.milled) == ["a.jpg", "b.jpg", "bad.jpg"]
    assert (outcome.account.listed, outcome.account.done, outcome.account.failed) == (3, 2, 1)
    assert outcome.account.is_exact
    success = run.success()
    assert success is not None
    assert (success["inputs"], success["done"], success["failed"]) == (3, 2, 1)
    record = run.record(1)
    assert (record["ended"], record["done"], record["failed"], record["listing"]["added"]) == ("complete", 2, 1, 3)
    assert (run.out / "_run" / "attempts" / "0001" / module.LOG).exists()


def test_a_finished_run_mills_nothing_starts_no_ray_and_leaves_what_it_says_as_it_is(run: Run) -> None:
    run.add("a.jpg")
    run.attempt()
    said = run.success()
    outcome = run.attempt()
    assert (run.milled, run.rays) == ([], 1)
    assert (outcome.done_now, outcome.account.done) == (0, 1)
    assert run.success() == said
    assert run.record(2)["ended"] == "complete"


def test_what_is_made_of_the_rows_is_there_before_the_run_says_that_it_is_complete(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt that dies in between left a run that looked complete without its series, and no later step made them."""
    run.add("a.jpg", "bad.jpg")
    seen = list[tuple[int, bool]]()

    def made(job: Job, out: Folder, done: int) -> list[str]:
        seen.append((done, run.success() is None))
        if len(seen) == 1:
            raise OSError("the machine dies")
        return ["2 series"]

    monkeypatch.setattr("pixelmill.jobs.committing.finish", made)
    with pytest.raises(PixelmillError, match="the machine dies"):
        run.attempt()
    assert run.success() is None
    assert run.attempt().made == ["2 series"]
    assert run.success() is not None
    assert seen == [(1, True), (1, True)]
    run.attempt(retry=True)
    assert len(seen) == 3


def test_an_attempt_that_wakes_up_late_makes_nothing_of_the_rows(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it read before it slept would replace what the newer attempt made."""
    run.add("a.jpg")
    finished = list[object]()
    monkeypatch.setattr("pixelmill.jobs.committing.finish", lambda *given: finished.append(given) or [])

    def another_takes_over() -> None:
        folder = Folder(str(run.out), Access())
        claims.take(folder, {"host": "other"}, is_gone=lambda _: True, clock=SystemClock(), say=lambda _: None)

    run.before_milling = another_takes_over
    with pytest.raises(ClaimLost):
        run.attempt()
    assert finished == []
    assert run.success() is None


def test_what_is_new_in_the_source_is_all_that_is_milled(run: Run) -> None:
    run.add("a.jpg", "b.jpg")
    run.attempt()
    run.add("c.jpg")
    assert run.attempt().account.done == 3
    assert run.milled == ["c.jpg"]


def test_an_attempt_that_is_stopped_says_why_and_the_next_one_does_the_rest(run: Run) -> None:
    run.add("a.jpg")
    run.attempt()
    run.add("b.jpg")

    def stop() -> None:
        raise JobStopped("too much fails")

    run.before_milling = stop
    with pytest.raises(JobStopped):
        run.attempt()
    assert (run.record(2)["ended"], run.record(2)["error"]) == ("JobStopped", "too much fails")
    run.before_milling = lambda: None
    outcome = run.attempt()
    assert (run.milled, outcome.account.done) == (["b.jpg"], 2)


def test_an_output_that_does_not_add_up_is_never_said_to_be_complete(run: Run) -> None:
    run.add("a.jpg", "b.jpg")
    run.makes_nothing = True
    with pytest.raises(PixelmillError, match="2 inputs, 0 done, 0 failed, 2 missing"):
        run.attempt()
    assert run.success() is None
    assert run.record(1)["ended"] == "PixelmillError"


def test_a_retry_does_what_failed_and_nothing_that_is_new(run: Run) -> None:
    run.add("a.jpg", "bad.jpg")
    run.attempt()
    run.add("b.jpg")
    outcome = run.attempt(retry=True)
    assert run.milled == ["bad.jpg"]
    assert (outcome.account.listed, outcome.account.done, outcome.account.failed) == (2, 1, 1)
