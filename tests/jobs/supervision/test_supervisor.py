"""Attempts one after another, each a process that answers, or is killed without a word."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict

import pytest

from pixelmill.jobs.child import Reply, Request
from pixelmill.jobs.stage_entries import StageEntry
from pixelmill.jobs.supervision.supervising import more_passes
from pixelmill.jobs.supervision.supervisor import Between, Supervisor, Task, smaller_batches

KILLED = b"", -9
DONE = Reply("out", code=3, summary="60 done")


class Processes:
    """Answers in turn, and keeps what was asked."""

    def __init__(self, *answers: Reply | tuple[bytes, int]) -> None:
        self._answers = list(answers)
        self.asked: list[Request] = []

    def __call__(self, request: Request) -> tuple[bytes, int]:
        self.asked.append(request)
        answer = self._answers.pop(0)
        return (json.dumps(asdict(answer)).encode(), 0) if isinstance(answer, Reply) else answer


def no_change(halvings: int) -> Iterable[str]:
    return ()


def supervised(
    processes: Processes, smaller: Callable[[int], Iterable[str]] = no_change, retries: int = 2
) -> tuple[int, list[float], list[str]]:
    waited, said = list[float](), list[str]()
    task = Task(Request("run", "text", "job.yaml", ("a=1",)), retries, smaller)
    return Supervisor(task, said.append, processes, waited.append).run(), waited, said


def failed(kind: str, cause: str, code: int) -> Reply:
    return Reply(error=("pixelmill.workers.errors", kind, f"it was {kind}"), cause=cause, code=code)  # pyright: ignore[reportArgumentType]


def test_a_run_that_is_killed_twice_is_tried_until_it_is_complete() -> None:
    code, waited, said = supervised(Processes(KILLED, KILLED, DONE))
    assert (code, waited) == (3, [5, 10])
    assert "ended by signal 9" in said[0]
    assert "interrupted from outside; tried again in 5 s" in said[1]


def test_a_bad_job_is_never_tried_again_and_its_message_is_shown() -> None:
    code, waited, said = supervised(Processes(failed("JobError", "job", 2)))
    assert (code, waited, said) == (2, [], ["pixelmill: it was JobError"])


def test_an_error_is_tried_again_a_few_times() -> None:
    processes = Processes(*[failed("RuntimeError", "error", 1)] * 3)
    assert supervised(processes, retries=2)[0] == 1
    assert len(processes.asked) == 3


def test_after_a_shortage_of_memory_the_batches_are_halved_and_stay_so() -> None:
    processes = Processes(failed("X", "memory", 1), KILLED, failed("X", "memory", 1), DONE)
    supervised(processes, lambda halvings: [f"batch={64 >> halvings}"])
    assert [request.overrides for request in processes.asked] == [
        ("a=1",),
        ("a=1", "batch=32"),
        ("a=1", "batch=32"),
        ("a=1", "batch=16"),
    ]


def test_a_run_that_was_asked_to_stop_before_it_began_starts_nothing() -> None:
    processes = Processes()
    task = Task(Request("run", "text", "job.yaml"), 2, no_change)
    assert Supervisor(task, list[str]().append, processes, may_begin=lambda: False).run() == 4
    assert processes.asked == []


def test_another_attempt_is_announced_before_the_pause_and_held_back_where_a_stop_was_asked_for_meanwhile() -> None:
    processes, did = Processes(KILLED, KILLED, DONE), list[str]()
    may = iter([True, False])
    between = Between(lambda: did.append("announced"), lambda: next(may))
    task = Task(Request("run", "text", "job.yaml"), 2, no_change)
    code = Supervisor(task, list[str]().append, processes, lambda s: did.append(f"{s:g} s"), between=between).run()
    assert (code, did) == (4, ["announced", "5 s", "announced", "10 s"])
    assert len(processes.asked) == 2


@pytest.mark.parametrize(
    ("batch", "before", "workers", "halvings", "passes"),
    [(32, 1, 1, 1, 2), (32, 2, 1, 2, 8), (32, 1, 4, 4, 8), (6, 1, 1, 3, 2), (5, 1, 1, 2, 1)],
)
def test_a_training_takes_its_batches_in_passes_into_which_they_divide(
    batch: int, before: int, workers: int, halvings: int, passes: int
) -> None:
    assert more_passes(batch, before, workers, halvings) == [f"accumulate={passes}"]


def test_batches_of_stages_that_have_one_are_halved() -> None:
    embed = StageEntry.validate({"embed": {"model": "torchvision:resnet18/random", "batch": 8}}).config
    auto = StageEntry.validate({"embed": {"model": "torchvision:resnet18/random"}}).config
    assert smaller_batches([embed, auto], 2) == ["stages.0.batch=2", "stages.1.batch=8"]
    assert smaller_batches([embed], 9) == ["stages.0.batch=1"]
