"""Who is blamed for the deaths of workers: only an input that was alone, and only after it had its second chance."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.pipelines.bulk.deaths import (
    ALONE,
    EVENT_PREFIX,
    FAULTS_IN_A_ROW,
    OUTSIDE,
    TOGETHER,
    Deaths,
    Start,
    Trouble,
    Troubles,
    event_of,
)
from pixelmill.workers.errors import JobStopped

STALL_S = 600.0


@dataclass
class Kept:
    """Notes in memory, which count what is asked of them."""

    values: dict[str, str] = field(default_factory=dict)
    asked: int = 0

    def add(self, key: str, value: str) -> bool:
        self.asked += 1
        return self.values.setdefault(key, value) is value

    def get(self, key: str) -> str | None:
        self.asked += 1
        return self.values.get(key)

    def put(self, key: str, value: str) -> None:
        self.asked += 1
        self.values[key] = value

    def remove(self, key: str) -> None:
        self.asked += 1
        self.values.pop(key, None)

    def events(self) -> list[Trouble]:
        return [event_of(text) for key, text in self.values.items() if key.startswith(EVENT_PREFIX)]


class Died(BaseException):
    pass


def do(notes: Kept, ids: list[str], killers: set[str], hangs: frozenset[str] = frozenset()) -> dict[str, str]:
    """Do one order until it is done, as Ray does; gives the ids that were blamed, with the reason."""
    while True:
        deaths = Deaths(notes, STALL_S)
        try:
            blamed = attempt(deaths, ids, killers, hangs)
        except Died:
            continue
        deaths.finish()
        return blamed


def attempt(deaths: Deaths, ids: list[str], killers: set[str], hangs: frozenset[str]) -> dict[str, str]:
    careful = deaths.begin("part-000001")
    blamed: dict[str, str] = {}
    for identity in ids:
        reason = careful.begin(identity) if careful else None
        if reason is not None:
            assert (reason.stage, reason.error_type) == ("worker", "KilledWorker")
            blamed[identity] = str(reason)
        elif identity in killers | hangs:
            if identity in hangs:
                deaths.stall()
            raise Died
    if careful:
        careful.end()
    return blamed


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcdefgh"), unique=True), st.sets(st.sampled_from("abcdefgh")), st.data())
def test_those_that_kill_or_hang_are_blamed_and_no_others(
    ids: list[str], deadly: set[str], data: st.DataObject
) -> None:
    hangs = frozenset(data.draw(st.sets(st.sampled_from(sorted(deadly))))) if deadly else frozenset()
    notes = Kept()
    blamed = do(notes, ids, deadly - hangs, hangs)
    assert blamed.keys() == deadly & set(ids)
    for identity, reason in blamed.items():
        assert ("run.stall_s" in reason) == (identity in hangs)
        assert "pixelmill retry" in reason
    assert not [key for key in notes.values if not key.startswith(EVENT_PREFIX)]


def test_an_order_whose_workers_live_asks_twice() -> None:
    notes = Kept()
    assert do(notes, ["a", "b"], set()) == {}
    assert notes.asked == 2
    assert notes.values == {}


def test_an_order_is_done_input_by_input_from_its_third_beginning_or_after_a_stall() -> None:
    notes = Kept()
    for _ in range(TOGETHER):
        assert Deaths(notes, STALL_S).begin("part-000001") is None
    assert Deaths(notes, STALL_S).begin("part-000001") is not None
    assert Deaths(notes, STALL_S).begin("part-000002") is None
    stalled = Deaths(notes, STALL_S)
    stalled.begin("part-000003")
    stalled.stall()
    assert Deaths(notes, STALL_S).begin("part-000003") is not None


def test_an_input_whose_worker_is_killed_from_outside_is_not_blamed() -> None:
    notes = Kept()
    for _ in range(TOGETHER):
        Deaths(notes, STALL_S).begin("part-000001")
    for identity in "abc":  # each was alone at one death
        careful = Deaths(notes, STALL_S).begin("part-000001")
        assert careful is not None
        assert careful.begin(identity) is None
    assert ALONE == 2
    assert do(notes, list("abc"), set()) == {}


def test_an_order_that_kills_outside_its_inputs_ends_the_run() -> None:
    notes = Kept()

    def survive_all_inputs_and_die() -> None:
        careful = Deaths(notes, STALL_S).begin("part-000001")
        if careful:
            careful.begin("a")
            careful.end()

    for _ in range(TOGETHER + OUTSIDE):
        survive_all_inputs_and_die()
    with pytest.raises(JobStopped, match=r"part-000001: its worker died 5 times.*what was finished stays"):
        survive_all_inputs_and_die()


def test_a_death_is_reported_with_its_order_and_its_cause() -> None:
    notes = Kept()
    do(notes, ["a", "b"], {"a"}, frozenset({"b"}))
    texts = [event.text for event in notes.events() if event.kind == "death"]
    assert len(texts) == TOGETHER + ALONE + 1
    assert all("part-000001" in text for text in texts)
    assert sum("made no progress for 600 s" in text for text in texts) == 1


def test_a_fault_of_the_device_is_no_death_and_blames_nobody() -> None:
    notes = Kept()
    for _ in range(10):
        deaths = Deaths(notes, STALL_S)
        assert deaths.begin("part-000001") is None
        deaths.forgive("embed on host: CUDA error")
    assert {event.kind for event in notes.events()} == {"fault"}
    assert do(notes, ["a"], set()) == {}


def test_faults_in_a_row_end_the_run_unless_an_order_was_finished_between() -> None:
    troubles = Troubles(workers=2)
    fault = Trouble("fault", "embed on host: CUDA error")
    for _ in range(4):
        assert troubles.hear([fault] * (FAULTS_IN_A_ROW - 1), 0)
        assert troubles.why() is None
        troubles.order_finished()
    lines = troubles.hear([Trouble("death", "a worker died")] * 9 + [fault] * FAULTS_IN_A_ROW, 0)
    assert len(lines) == 9 + FAULTS_IN_A_ROW
    assert "embed on host: CUDA error" in str(troubles.why())


def test_workers_that_die_before_they_begin_end_the_run() -> None:
    notes = Kept()
    begun, *lost = [Start(notes) for _ in range(9)]
    begun.succeeded()
    begun.succeeded()
    assert len(notes.values) == len(lost)
    troubles = Troubles(workers=2)
    troubles.hear([], len(notes.values))
    assert "8 workers were started and died" in str(troubles.why())
    troubles.hear([], 7)
    assert troubles.why() is None


def test_a_record_survives_its_journey() -> None:
    notes = Kept()
    deaths = Deaths(notes, STALL_S)
    deaths.begin("part-000001")
    deaths.begin_alone("a")
    (text,) = notes.values.values()
    assert json.loads(text)["alone"] == "a"
