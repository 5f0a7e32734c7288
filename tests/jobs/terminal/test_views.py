"""One line says it all: counts, rates and what is waited for, of a run and of a training."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelmill.jobs.terminal.views import BulkView, TrainingView, duration, view_of
from pixelmill.pipelines.events import PhaseBegan, Started, Status, StepsCounted
from tests.jobs.terminal.views import MILLING, view


def test_one_line_has_progress_rate_failures_time_left_and_what_the_workers_do() -> None:
    expected = "milling: 3,000 / 12,000, 60.0 images/s, 10 failed, ETA 2 min 30 s, busy: fetch 10% embed 60%"
    assert MILLING.line() == expected


@pytest.mark.parametrize(
    ("shown", "waited_s", "line"),
    [
        (view(phase="starting Ray"), 0.4, "starting Ray"),
        (view(phase="importing torch", total=5), 6.2, "importing torch, 6 s"),
        (view(phase="waiting for 2 CPUs, 0 free", total=5, done=1), 75, "waiting for 2 CPUs, 0 free, 1 min 15 s"),
        (view(phase="listing", found=120_000), 3, "listing: 120,000 inputs, 3 s"),
        (view(phase="milling", total=5), 3, "milling: 0 / 5, 0 failed"),
    ],
)
def test_what_is_waited_for_is_named_with_how_long_and_what_is_not_known_yet_is_left_out(
    shown: BulkView, waited_s: float, line: str
) -> None:
    assert shown.line(waited_s) == line


@given(st.floats(0, 1e7))
def test_a_duration_is_within_its_last_unit_of_the_truth(seconds: float) -> None:
    units = {"s": 1, "min": 60, "h": 3600}
    words = duration(seconds).split()
    told = sum(int(number) * units[unit] for number, unit in zip(words[::2], words[1::2], strict=True))
    assert abs(told - seconds) <= (0.5 if seconds < 3599 else 60)
    assert all(int(number) < 60 for number, unit in zip(words[::2], words[1::2], strict=True) if unit != "h")


def training(*events: StepsCounted | PhaseBegan) -> TrainingView:
    shown = view_of(Status().fold_all([Started(doing="train"), *events]))
    assert isinstance(shown, TrainingView)
    return shown


def test_a_training_that_has_not_begun_names_what_it_waits_for() -> None:
    waiting = training(PhaseBegan(phase="reading the data"))
    assert waiting.line(7) == "reading the data, 7 s"
    assert waiting.bar(7).total is None
    assert waiting.notes() == []


def test_a_training_is_shown_with_step_loss_rate_time_left_and_metrics() -> None:
    steps = StepsCounted(step=20, steps=4000, loss=0.5, images_per_s=99.5, left_s=65, metrics={"miou": 0.25})
    shown = training(PhaseBegan(phase="training"), steps)
    assert shown.line() == "training: step 20 / 4,000, loss 0.5, 99.5 images/s, ETA 1 min 5 s, miou 0.25"
    assert (shown.bar().completed, shown.bar().total) == (20, 4000)
    assert [str(note) for note in shown.notes()] == ["loss 0.5, miou 0.25"]


def test_an_evaluation_shows_no_loss() -> None:
    shown = training(PhaseBegan(phase="evaluating"), StepsCounted(step=5, steps=9, metrics={"miou": 0.25}))
    assert shown.line() == "evaluating: step 5 / 9, miou 0.25"
