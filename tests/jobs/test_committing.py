"""`_SUCCESS` is written for an output that adds up, by the attempt that holds it, and by no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pixelmill.jobs.committing import commit
from pixelmill.jobs.job import Job, check_document
from pixelmill.jobs.outcome import Outcome
from pixelmill.jobs.session.session import Session
from pixelmill.pipelines.events import RowsCounted
from pixelmill.pipelines.outputs.attempt import IDENTITY, Attempt
from pixelmill.pipelines.outputs.claims import Claim
from pixelmill.pipelines.outputs.columns import SUCCESS
from pixelmill.pipelines.outputs.completion import Counted
from pixelmill.pipelines.outputs.segments import read_segments
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import ClaimLost, JobStopped, PixelmillError
from tests.jobs.session.held import held_session
from tests.pipelines.outputs.by_hand import NAMES, list_into, publish


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Of an output in which six inputs are listed in two parts, of which the first is done."""
    stages = [{"embed": {"model": "torchvision:resnet18/random"}}]
    document = {"version": 1, "source": "/p", "out": str(tmp_path / "out"), "stages": stages}
    job = check_document(document, name="job", environment={})
    out = job.open_out()
    list_into(out, 0, NAMES, [3, 3])
    out.publish(IDENTITY, b'{"version": 1}')
    publish(out, 0, NAMES[:3], failed=(NAMES[1],))
    return job


def commit_in(held: Session, job: Job, outcome: Outcome, *, retry: bool = False) -> None:
    attempt = Attempt(held.out, held.held, row_bytes=lambda _: 1, file_bytes=1 << 20)
    commit(job, attempt, read_segments(held.out), Counted(6, 2, 1), held, outcome, retry=retry)


def success(out: Folder) -> dict[str, object]:
    return json.loads(out.read(SUCCESS) or b"{}")


def test_an_output_that_adds_up_is_complete_with_its_counts(job: Job) -> None:
    outcome = Outcome(done_now=2, failed_now=1)
    with held_session(job.open_out()) as held:
        publish(held.out, 1, NAMES[3:], failed=(NAMES[5],))
        commit_in(held, job, outcome)
        rows = held.events.status.rows
    made = success(job.open_out())
    assert (made["inputs"], made["done"], made["failed"], made["attempt"]) == (6, 4, 2, 1)
    assert made["identity"] == {"version": 1}
    assert (outcome.account.done, outcome.account.failed) == (4, 2)
    assert (rows.done, rows.failed) == (4, 2)


@pytest.mark.parametrize("retry", [False, True])
def test_the_status_of_a_complete_run_counts_all_of_its_inputs_whatever_its_last_attempt_did(
    job: Job, retry: bool
) -> None:
    with held_session(job.open_out()) as held:
        publish(held.out, 1, NAMES[3:], failed=(NAMES[5],))
        held.events.emit(RowsCounted(total=1, done=1))  # as a retry of one input counts, which failed again
        commit_in(held, job, Outcome(), retry=retry)
        rows = held.events.status.rows
    assert (rows.total, rows.done, rows.failed) == (6, 4, 2)


def test_an_output_with_a_missing_input_is_not_complete(job: Job) -> None:
    with (
        pytest.raises(PixelmillError, match=r"does not add up: 6 inputs, 2 done, 1 failed, 3 missing"),
        held_session(job.open_out()) as held,
    ):
        commit_in(held, job, Outcome())
    assert success(job.open_out()) == {}


def test_a_retry_of_an_unfinished_run_says_what_continues_it(job: Job) -> None:
    said = "3 of 6 inputs were never done, and a retry does only what failed"
    with pytest.raises(JobStopped, match=said), held_session(job.open_out()) as held:
        commit_in(held, job, Outcome(), retry=True)
    assert success(job.open_out()) == {}


def test_an_attempt_that_was_overtaken_writes_no_success(job: Job) -> None:
    def overtaken() -> None:
        with held_session(job.open_out()) as held:
            publish(held.out, 1, NAMES[3:])
            assert held.out.create(Claim(2, "f" * 32, held.out.is_fenced).file, b"{}")
            commit_in(held, job, Outcome())

    with pytest.raises(ClaimLost):
        overtaken()
    assert success(job.open_out()) == {}
