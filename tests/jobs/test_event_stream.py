"""A stream stamps its events, folds them as every reader does, and keeps them until they are asked for."""

from __future__ import annotations

import io
import threading

import pytest

from pixelmill.jobs.event_stream import EventStream
from pixelmill.jobs.terminal import display
from pixelmill.jobs.terminal.display import Terminal
from pixelmill.pipelines.events import Ended, InputsFound, PartPublished, RowsCounted, Status, Warned


class Stream(EventStream):
    """With what its terminal shows."""

    def __init__(self) -> None:
        self.shown = io.StringIO()
        super().__init__(Terminal(self.shown, is_terminal=False), "run", lambda: 5.0)


def test_what_was_said_before_the_attempt_had_a_number_is_of_that_attempt() -> None:
    events = Stream()
    events.phase("listing")
    events.warn("waiting for a sign of life")
    events.begin(3)
    events.emit(RowsCounted(total=9, done=1))
    kept = events.drained()
    assert {event.attempt for event in kept} == {3}
    assert {event.at_s for event in kept} == {5.0}
    assert Status().fold_all(kept) == events.status
    assert (events.status.phase, events.status.warnings) == ("listing", ("waiting for a sign of life",))


def test_the_status_of_a_second_attempt_holds_nothing_of_the_first() -> None:
    first, second = Stream(), Stream()
    first.begin(1)
    first.warn("of the first")
    second.phase("listing")
    second.begin(2)
    assert Status().fold_all([*first.drained(), *second.drained()]) == second.status


def test_what_is_overtaken_is_not_kept_and_what_was_drained_is_not_given_again() -> None:
    events = Stream()
    events.begin(1)
    for done in range(1000):
        events.emit(RowsCounted(total=9, done=done))
    assert [event.kind for event in events.drained()] == ["started", "rows"]
    assert events.drained() == []


def test_a_phase_is_an_event_when_it_changes() -> None:
    events = Stream()
    for phase in ("listing", "listing", "milling", "milling"):
        events.phase(phase)
    assert len(events.drained()) == 2


def test_no_secret_and_no_character_that_can_not_be_written_is_in_an_event() -> None:
    events = Stream()
    events.emit(Warned(text="s3://me:topsecret@bucket/caf\udce9.jpg is gone"))
    events.emit(Ended(ended="StoreError", error="https://host/a?sig=topsecret"))
    texts = [event.model_dump_json() for event in events.drained()]
    assert not any("topsecret" in text for text in texts)
    assert "caf\\\\udce9.jpg" in texts[0]


def test_figures_are_shown_at_once_and_a_short_phase_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "TICK_S", 1e9)
    events = Stream()
    events.phase("listing")
    events.emit(InputsFound(found=4))
    assert events.shown.getvalue() == ""
    events.phase("milling")
    assert events.shown.getvalue() == "milling: 0 / 0, 0 failed\n"


def test_events_of_many_threads_are_all_there() -> None:
    events = Stream()
    events.begin(1)

    def publish(number: int) -> None:
        for count in range(20):
            events.emit(PartPublished(part=f"{number}-{count}", done=1, failed=0, written_bytes=1))

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    parts = [event.part for event in events.drained() if isinstance(event, PartPublished)]
    assert sorted(parts) == sorted(f"{number}-{count}" for number in range(8) for count in range(20))
