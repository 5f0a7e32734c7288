"""Whoever waits for a submission submits again what was lost, as soon as a cluster answers and has room, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from pixelmill.jobs.session.job_server import ClusterJob
from pixelmill.jobs.submission import waiting
from pixelmill.jobs.submission.waiting import Waiting
from pixelmill.workers.errors import ClusterUnreachable, JobError, NoRoom, PixelmillError

LOST, DONE = ClusterJob("FAILED", exit_code=137), ClusterJob("SUCCEEDED", exit_code=0)


class Jobs:
    """A cluster whose job is found as these, one after another."""

    def __init__(self, *found: ClusterJob | PixelmillError | None) -> None:
        self._found = list(found)

    def find(self, _: str) -> ClusterJob | None:
        found = self._found.pop(0)
        if isinstance(found, PixelmillError):
            raise found
        return found


class Submitting:
    """Answers each further submission in turn."""

    def __init__(self, *answers: Jobs | PixelmillError) -> None:
        self._answers = list(answers)

    def __call__(self) -> tuple[Jobs, str]:
        answer = self._answers.pop(0)
        if isinstance(answer, PixelmillError):
            raise answer
        return answer, "again"


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses, which take no time."""
    found = list[float]()
    monkeypatch.setattr(waiting, "time", SimpleNamespace(sleep=found.append))
    return found


def waited(jobs: Jobs, submit: Callable[[], tuple[Jobs, str]], said: list[str]) -> int:
    return Waiting(jobs, "first", submit, said.append, follows=False).end()  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("lost", [LOST, None, ClusterJob("FAILED"), ClusterJob("FAILED", exit_code=75)])
def test_what_was_lost_is_submitted_again(lost: ClusterJob | None, slept: list[float]) -> None:
    said = list[str]()
    assert waited(Jobs(lost), Submitting(Jobs(DONE)), said) == 0
    assert said == ["first was lost with its driver or cluster; submitted again in 5 s"]
    assert slept == [5.0]


@pytest.mark.parametrize("away", [ClusterUnreachable("nobody answers"), NoRoom("2 workers can't be placed")])
def test_a_cluster_that_is_away_or_has_no_nodes_yet_is_waited_for(away: PixelmillError, slept: list[float]) -> None:
    said = list[str]()
    assert waited(Jobs(LOST), Submitting(away, away, Jobs(DONE)), said) == 0
    assert said[1:] == [f"{away}; waiting until that changes"]
    assert slept == [5.0, 5.0, 10.0]


def test_a_job_that_turns_out_to_be_wrong_is_not_waited_for(slept: list[float]) -> None:
    with pytest.raises(JobError, match="another Ray"):
        waited(Jobs(LOST), Submitting(JobError("another Ray")), [])


def test_what_was_asked_to_stop_is_not_submitted_again(slept: list[float]) -> None:
    said = list[str]()
    jobs, submit = Jobs(LOST), Submitting()
    assert Waiting(jobs, "first", submit, said.append, follows=False, may_go_on=lambda: False).end() == 4  # pyright: ignore[reportArgumentType]
    assert said[-1] == "not submitted again, as `pixelmill stop` asked"


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (DONE, 0),
        (ClusterJob("FAILED", exit_code=2), 2),
        (ClusterJob("FAILED", exit_code=3), 3),
        (ClusterJob("FAILED", exit_code=4), 4),
        (ClusterJob("FAILED", exit_code=1), 1),
        (ClusterJob("STOPPED"), 130),
    ],
)
def test_every_other_end_is_that_of_the_command_there(found: ClusterJob, code: int, slept: list[float]) -> None:
    assert waited(Jobs(found), Submitting(), []) == code
    assert slept == []
