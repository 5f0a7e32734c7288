"""The source of a run: signed in the spelling that the run began with, and listed with what is new or what failed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pixelmill.jobs.job import Job, check_document
from pixelmill.jobs.outcome import Outcome
from pixelmill.jobs.run_source import RunSource
from pixelmill.jobs.session.session import Session
from pixelmill.pipelines.outputs.attempt import IDENTITY, SPEC, Attempt
from pixelmill.pipelines.outputs.segments import read_segments
from pixelmill.workers.errors import JobError, RunRefused
from tests.jobs.session.held import held_session
from tests.pipelines.outputs.by_hand import publish
from tests.pipelines.outputs.listings import make_files, uris_of


def job_of(source: Path, out: Path, model: str = "resnet18", **options: object) -> Job:
    stages = [{"embed": {"model": f"torchvision:{model}/random"}}]
    document = {"version": 1, "source": {"uri": str(source), **options}, "out": str(out), "stages": stages}
    return check_document(document, name="job", environment={})


@dataclass
class Held:
    job: Job
    session: Session
    attempt: Attempt
    outcome: Outcome

    def source(self, *, retry: bool = False) -> RunSource:
        return RunSource(self.job, self.job.source(self.session.out), self.session, self.outcome, retry=retry)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    make_files(tmp_path / "in", "a.jpg", "b.jpg", "note.txt")
    job = job_of(tmp_path / "in", tmp_path / "out")
    with held_session(job.open_out()) as session:
        attempt = Attempt(session.out, session.held, row_bytes=lambda _: 1, file_bytes=1 << 20)
        yield Held(job, session, attempt, Outcome())


def test_a_new_run_writes_what_it_is_and_the_job_as_it_was_run(held: Held) -> None:
    held.source().sign(held.attempt)
    out = held.session.out
    assert json.loads(out.read(IDENTITY) or b"{}")["stages"][0]["embed"]["model"] == "torchvision:resnet18/random"
    spec = (out.read(SPEC) or b"").decode()
    assert spec.startswith("# attempt 1\n")
    assert "torchvision:resnet18/random" in spec


def test_another_job_is_refused_and_its_spec_is_not_written(held: Held, tmp_path: Path) -> None:
    held.source().sign(held.attempt)
    before = held.session.out.read(SPEC)
    other = Held(job_of(tmp_path / "in", tmp_path / "out", "resnet34"), held.session, held.attempt, Outcome())
    with pytest.raises(RunRefused, match=r"resnet18.* there, .*resnet34.* here"):
        other.source().sign(held.attempt)
    assert held.session.out.read(SPEC) == before


def test_a_resumed_run_reads_its_source_in_the_spelling_that_it_began_with(held: Held, tmp_path: Path) -> None:
    held.source().sign(held.attempt)
    again = Held(job_of(tmp_path / "in/../in", tmp_path / "out"), held.session, held.attempt, Outcome()).source()
    again.sign(held.attempt)
    assert again.source.uris == held.source().source.uris == (str(tmp_path / "in"),)


def test_a_retry_keeps_the_spec_of_the_run(held: Held, tmp_path: Path) -> None:
    held.source().sign(held.attempt)
    before = held.session.out.read(SPEC)
    larger = job_of(tmp_path / "in", tmp_path / "out", max_pixels=400_000_000)
    Held(larger, held.session, held.attempt, Outcome()).source(retry=True).sign(held.attempt)
    assert held.session.out.read(SPEC) == before


def test_what_is_new_is_listed_and_counted_once(held: Held, tmp_path: Path) -> None:
    segments = held.source().list_into(held.attempt, [])
    assert (held.outcome.added, held.outcome.ignored) == (2, {".txt": 1})
    assert held.session.events.status.found == 2
    make_files(tmp_path / "in", "c.jpg")
    held.outcome = Outcome()
    segments = held.source().list_into(held.attempt, segments)
    assert held.outcome.added == 1
    assert sorted(uris_of(held.session.out, segments)) == [str(tmp_path / f"in/{name}.jpg") for name in "abc"]
    assert segments == read_segments(held.session.out)


def test_a_source_without_an_input_is_refused_with_what_was_there(held: Held, tmp_path: Path) -> None:
    make_files(tmp_path / "texts", "a.txt")
    empty = Held(job_of(tmp_path / "texts", tmp_path / "out"), held.session, held.attempt, Outcome())
    with pytest.raises(JobError, match=r"\.txt"):
        empty.source().list_into(held.attempt, [])


def test_a_retry_lists_what_failed_with_the_size_that_it_has_now(held: Held, tmp_path: Path) -> None:
    segments = held.source().list_into(held.attempt, [])
    names = [str(tmp_path / "in" / name) for name in ("a.jpg", "b.jpg")]
    publish(held.session.out, 0, names, failed=(names[1],))
    (tmp_path / "in/b.jpg").write_bytes(b"a whole picture this time")
    make_files(tmp_path / "in", "c.jpg")  # new, and so the run's and not the retry's
    listed = held.source(retry=True).list_into(held.attempt, segments)
    assert len(listed) == len(segments) + 1
    assert uris_of(held.session.out, listed[-1:]) == names[1:]
