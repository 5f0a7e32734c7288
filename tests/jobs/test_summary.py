"""The last words of a run."""

from __future__ import annotations

import pytest

from pixelmill.jobs.outcome import Outcome
from pixelmill.jobs.spec import JobSpec
from pixelmill.jobs.summary import note_of, summary_of
from pixelmill.pipelines.outputs.accounting import Account
from pixelmill.workers.models.model_names import DEFAULT_MODEL
from tests.toys.registered import toy_stages


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Outcome(Account(listed=4, failed=4), failed_now=4, seconds={"work": 2.0}), "4 in this run in 2 s"),
        (Outcome(Account(listed=4, done=4)), "nothing was left to do"),
    ],
)
def test_a_run_in_which_everything_failed_did_something(outcome: Outcome, said: str) -> None:
    assert summary_of(outcome, "out").splitlines()[1].startswith(said)


def test_a_job_without_a_model_gets_a_note_on_the_limits_of_the_default_one() -> None:
    def note(stage: dict[str, object]) -> str | None:
        return note_of(JobSpec.model_validate({"version": 1, "source": "a", "out": "b", "stages": [{"embed": stage}]}))

    assert "not content; --model torchvision:resnet50" in (note({"batch": 4}) or "")
    assert note({"model": DEFAULT_MODEL}) is None


def test_the_same_note_of_two_stages_appears_once() -> None:
    stages = [{"embed": {}}, {"embed": {"name": "second", "column": "again"}}]
    notes = note_of(JobSpec.model_validate({"version": 1, "source": "a", "out": "b", "stages": stages})) or ""
    assert notes.startswith("note: no model was named")
    assert "\n" not in notes


def test_a_stage_without_advice_has_no_note() -> None:
    with toy_stages():
        stages = [{"invert": {}}]
        assert note_of(JobSpec.model_validate({"version": 1, "source": "a", "out": "b", "stages": stages})) is None


def test_what_was_ignored_is_not_said_to_be_anything() -> None:
    outcome = Outcome(Account(listed=1, done=1), ignored={".heic": 3, "hidden": 2})
    assert "ignored: 3 .heic, 2 hidden" in summary_of(outcome, "out").splitlines()
