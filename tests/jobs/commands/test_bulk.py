"""`run` and `retry`: the job that they make of what is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pixelmill.jobs import cli
from pixelmill.jobs.commands import bulk
from pixelmill.jobs.job import Job
from tests.pipelines.export.drawn import make_run
from tests.support import pictures

JOB = "version: 1\nsource: {source}\nout: {out}\nstages: [embed]\n"


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Job, dict[str, Any]]]:
    """The jobs that would be run, and how."""
    jobs: list[tuple[Job, dict[str, Any]]] = []
    monkeypatch.setattr(bulk, "run_bulk", lambda job, around, **how: jobs.append((job, how)))
    return jobs


def test_run_reads_a_file_with_its_overrides(tmp_path: Path, done: list[tuple[Job, dict[str, Any]]]) -> None:
    pictures(tmp_path / "in", 1)
    (tmp_path / "job.yaml").write_text(JOB.format(source=tmp_path / "in", out=tmp_path / "out"))
    cli.app(
        ["run", str(tmp_path / "job.yaml"), "--set", "run.actors=1", "--failures", "ok", "--dry-run"],
        standalone_mode=False,
    )
    ((job, how),) = done
    assert (job.spec.run.actors, job.spec.run.failures, how) == (1, "ok", {"dry_run": True})


def test_retry_takes_the_job_of_the_output_wherever_that_lies_now(
    tmp_path: Path, done: list[tuple[Job, dict[str, Any]]]
) -> None:
    out = make_run(tmp_path, {"a.png": (9, 9, 9)})
    out.publish("_run/spec.yaml", JOB.format(source=tmp_path / "in", out="/somewhere/else").encode())
    cli.app(["retry", out.uri], standalone_mode=False)
    ((job, how),) = done
    assert (job.spec.out_options.uri, how) == (out.uri, {"retry": True})
