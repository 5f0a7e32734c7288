"""What workers report is passed on once, and they are asked to end only when there is something to save."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator

import pytest

from pixelmill.jobs.event_stream import EventStream
from pixelmill.jobs.terminal.display import Terminal
from pixelmill.jobs.training import following as module
from pixelmill.jobs.training.following import SAVE_WITHIN_S, Reports, ask_to_end, following
from pixelmill.pipelines.training.failures import report_failure
from pixelmill.pipelines.training.plan import NEWS, STOP, WARNING
from tests.in_memory_progress import InMemory

STEP = {"phase": "training", "step": 3, "steps": 9, "loss": 0.5}


@pytest.fixture
def shown() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def events(shown: io.StringIO) -> Iterator[EventStream]:
    terminal = Terminal(shown, is_terminal=False)
    made = EventStream(terminal, "train", lambda: 5.0)
    made.begin(1)
    with terminal:
        yield made


def test_warnings_of_several_workers_that_are_equal_are_said_once(events: EventStream, shown: io.StringIO) -> None:
    store = InMemory()
    reports = Reports(store, events)
    for text in ("slow disk", "slow disk", "old driver"):
        store.reporter(WARNING)(text)
    for _ in range(2):
        reports.pass_on()
    assert (shown.getvalue().count("slow disk"), shown.getvalue().count("old driver")) == (1, 1)


def test_each_failure_is_a_warning_that_names_its_worker_and_says_what_happens_next(events: EventStream) -> None:
    store = InMemory()
    reports = Reports(store, events)
    report_failure(store, 1, "cuda:1", RuntimeError("CUDA error"))
    reports.pass_on()
    report_failure(store, 0, "cuda:0", RuntimeError("another"))
    reports.pass_on()
    reports.pass_on()
    first, second = events.status.warnings
    assert "worker 1 on " in first
    assert first.endswith("CUDA error; the training resumes from its newest checkpoint, twice at most")
    assert "worker 0 on " in second


def test_steps_are_counted_once_a_report_and_a_phase_without_a_step_counts_none(events: EventStream) -> None:
    store = InMemory()
    reports = Reports(store, events)
    store.put(NEWS, json.dumps({"phase": "reading"}))
    reports.pass_on()
    assert (events.status.phase, events.status.steps) == ("reading", None)
    store.put(NEWS, json.dumps(STEP))
    reports.pass_on()
    events.drained()
    reports.pass_on()
    assert not events.drained().events
    assert events.status.steps is not None
    assert (events.status.phase, events.status.steps.step, events.status.steps.loss) == ("training", 3, 0.5)


def test_what_is_reported_last_is_passed_on_after_the_end(events: EventStream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_S", 60.0)
    store = InMemory()
    with following(store, events):
        store.put(NEWS, json.dumps(STEP))
    assert events.status.steps is not None
    assert not [thread for thread in threading.enumerate() if thread.name == "news"]


def test_a_store_that_fails_costs_the_display_and_not_the_training(
    events: EventStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone(InMemory):
        def get(self, key: str) -> str | None:
            raise ConnectionError("Ray is gone")

    monkeypatch.setattr(module, "POLL_S", 0.001)
    with following(Gone(), events):
        done = "trained"
    assert done == "trained"


@pytest.mark.parametrize(
    ("news", "wait_s"), [(None, 0.0), ({"phase": "reading"}, 0.0), (STEP, SAVE_WITHIN_S), ({**STEP, "step": 0}, 60.0)]
)
def test_workers_are_asked_for_a_checkpoint_once_there_was_a_step(
    events: EventStream, news: dict[str, object] | None, wait_s: float
) -> None:
    store = InMemory()
    if news is not None:
        store.put(NEWS, json.dumps(news))
    assert ask_to_end(store, events) == wait_s
    assert (store.get(STOP) is not None) is (wait_s > 0)
