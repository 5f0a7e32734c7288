"""The laws by which every reader of an attempt's events comes to the same status."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.pipelines.events import (
    MOST_WARNINGS,
    Ended,
    Event,
    InputsFound,
    PartPublished,
    PhaseBegan,
    RowsCounted,
    SampleFailed,
    SettingsChosen,
    Started,
    Status,
    StepsCounted,
    Warned,
    coalesced,
    parsed,
    to_line,
)

WORDS = st.text(max_size=8)
NUMBERS = st.integers(0, 99)
MADE: st.SearchStrategy[Event] = st.one_of(
    st.builds(Started, doing=st.sampled_from(["run", "retry", "train"])),
    st.builds(PhaseBegan, phase=WORDS),
    st.builds(InputsFound, found=NUMBERS),
    st.builds(RowsCounted, total=NUMBERS, done=NUMBERS, failed=NUMBERS, reasons=st.dictionaries(WORDS, NUMBERS)),
    st.builds(StepsCounted, step=NUMBERS, steps=NUMBERS, loss=st.none() | st.floats(0, 9)),
    st.builds(PartPublished, part=WORDS, done=NUMBERS, failed=NUMBERS, written_bytes=NUMBERS),
    st.builds(SampleFailed, stage=WORDS, error_type=WORDS, example=WORDS),
    st.builds(Warned, text=WORDS),
    st.builds(SettingsChosen, stage=WORDS, settings=st.dictionaries(WORDS, NUMBERS)),
    st.builds(Ended, ended=st.sampled_from(["complete", "JobStopped"]), error=st.none() | WORDS),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Attempts one after another, each of which begins with its start."""
    events: list[Event] = []
    for attempt in range(1, draw(st.integers(1, 3)) + 1):
        own = [Started(), *draw(st.lists(MADE, max_size=8))]
        events += [each.model_copy(update={"attempt": attempt, "at_s": float(len(events))}) for each in own]
    return events


@settings(deadline=None)
@given(histories(), st.data())
def test_the_status_of_a_whole_is_that_of_its_pieces_one_after_another(
    events: list[Event], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(events)))
    assert Status().fold_all(events[:cut]).fold_all(events[cut:]) == Status().fold_all(events)


@settings(deadline=None)
@given(histories())
def test_an_event_that_is_read_twice_changes_nothing(events: list[Event]) -> None:
    for count in range(1, len(events) + 1):
        once = Status().fold_all(events[:count])
        assert once.fold(events[count - 1]) == once


@settings(deadline=None)
@given(histories())
def test_an_event_that_a_later_one_replaces_may_be_left_out(events: list[Event]) -> None:
    fewer = coalesced(events)
    assert len(fewer) <= len(events)
    assert Status().fold_all(fewer) == Status().fold_all(events)


@settings(deadline=None)
@given(histories(), histories())
def test_a_late_event_of_an_earlier_attempt_changes_nothing(events: list[Event], late: list[Event]) -> None:
    status = Status().fold_all(events)
    stale = [each.model_copy(update={"attempt": status.attempt - 1}) for each in late]
    assert status.fold_all(stale) == status


@settings(deadline=None)
@given(histories())
def test_lines_hold_all_of_the_events(events: list[Event]) -> None:
    lines = [to_line(each) for each in events]
    assert all("\n" not in line for line in lines)
    assert parsed("\n".join(lines)) == events


def test_a_kind_of_a_later_version_is_left_out_and_a_field_of_it_too() -> None:
    lines = ['{"kind": "hologram", "x": 1}', json.dumps({"kind": "warning", "text": "a", "colour": "red"}), "torn {"]
    assert parsed("\n".join(lines)) == [Warned(text="a")]


def test_a_new_attempt_begins_with_a_clean_status() -> None:
    status = Status().fold_all([Started(attempt=1), Warned(attempt=1, text="a"), Ended(attempt=1, ended="JobStopped")])
    status = status.fold(Started(attempt=2, at_s=5.0))
    assert (status.attempt, status.ended, status.warnings, status.started_s) == (2, None, (), 5.0)


def test_a_metric_that_is_no_number_is_left_out_so_that_every_reader_can_read_the_rest() -> None:
    steps = StepsCounted(step=1, steps=2, metrics={"miou": 0.5, "psnr": float("inf"), "loss": float("nan")})
    status = Status().fold(steps)
    assert steps.metrics == {"miou": 0.5}
    assert Status.model_validate_json(status.model_dump_json()) == status


def test_only_the_last_warnings_are_kept() -> None:
    status = Status().fold_all(Warned(text=str(number)) for number in range(9))
    assert status.warnings == tuple(str(number) for number in range(9 - MOST_WARNINGS, 9))


# ------------------------------------------------------------------------------------------------- what rows say


def test_time_left_follows_from_the_rate_and_the_remaining_inputs() -> None:
    assert RowsCounted(total=100, done=30, failed=10, images_per_s=2.0).left_s == 30.0
    assert RowsCounted(total=100).left_s is None
    assert RowsCounted(total=100, images_per_s=0.0).left_s is None


@given(
    st.dictionaries(st.sampled_from(["fetch", "decode", "embed", "compress"]), st.floats(0, 1e6), min_size=1),
    st.integers(1, 64),
    st.integers(0, 16),
    st.floats(0, 1e6),
)
def test_no_share_exceeds_the_whole_for_any_reports(
    busy_s: dict[str, float], workers: int, beside: int, working_s: float
) -> None:
    """A batch is reported when it is over, and with it what began before the first look at the clock."""
    rows = RowsCounted(busy_s=busy_s, workers=workers, decoders=beside, working_s=working_s)
    shares = rows.busy_shares
    assert all(0 <= share <= 1 for share in shares.values())
    own = [share for name, share in shares.items() if name not in {"decode", "compress"} or not beside]
    assert sum(own) <= 1 + 1e-9


def test_threads_that_decode_and_compress_beside_a_worker_have_a_time_of_their_own() -> None:
    busy_s = {"fetch": 5.0, "decode": 60.0, "embed": 4.0, "compress": 20.0}
    rows = RowsCounted(busy_s=busy_s, workers=1, decoders=8, working_s=10.0)
    assert rows.busy_shares == {"fetch": 0.5, "decode": 0.75, "embed": 0.4, "compress": 0.25}


def test_shares_are_of_all_workers_time_and_none_before_a_second_is_over() -> None:
    assert RowsCounted(busy_s={"fetch": 10.0, "embed": 60.0}, workers=2, working_s=50.0).busy_shares == {
        "fetch": 0.1,
        "embed": 0.6,
    }
    assert RowsCounted(workers=2, working_s=0.2, busy_s={"embed": 0.2}).busy_shares == {}
