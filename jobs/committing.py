"""The end of a run: what was made is held against the manifest, and `_SUCCESS` says that every input is accounted for."""

from __future__ import annotations

from pixelmill.jobs.finishing import finish
from pixelmill.jobs.job import Job
from pixelmill.jobs.outcome import Outcome
from pixelmill.jobs.session.session import Session
from pixelmill.pipelines.outputs import completion
from pixelmill.pipelines.outputs.accounting import account
from pixelmill.pipelines.outputs.attempt import Attempt
from pixelmill.pipelines.outputs.completion import Counted
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.outputs.settling import settle
from pixelmill.pipelines.stores.explain import explained


def commit(
    job: Job,
    attempt: Attempt,
    segments: list[Segment],
    before: Counted,
    held: Session,
    outcome: Outcome,
    *,
    retry: bool,
) -> None:
    """Account for every input and write `_SUCCESS`; `before` counts what earlier attempts made. Raises PixelmillError where
    an input is missing or twice, or where another attempt holds the folder by now."""
    with explained(held.out.uri, "accounting for what was made"):
        settle(held.out, segments)
        _count(before, held, outcome)
        held.events.phase("accounting")
        outcome.account = account(held.out, segments)
        held.stopwatch.mark("account")
        _show_account(held, outcome)
        completion.require_complete(held.out, outcome.account, retry=retry)
        held.held.require()  # an attempt that wakes up late would put its older series in the place of newer ones
        with explained(held.out.uri, "finishing what was made"):
            outcome.made = finish(job, held.out, outcome.account.done)
        now_s = held.stopwatch.now_s
        attempt.succeed({**completion.success_of(held.out, outcome.account, segments, outcome.seconds, now_s)})


def _show_account(held: Session, outcome: Outcome) -> None:
    """What readers of the status see from now on is the run as a whole, also after a retry, which counted its own inputs."""
    found = outcome.account
    counts = {"total": found.listed, "done": found.done, "failed": found.failed}
    held.events.emit(held.events.status.rows.model_copy(update=counts))


def _count(before: Counted, held: Session, outcome: Outcome) -> None:
    """Show the counts of the attempt: the reports may have missed the last second."""
    rows = held.events.status.rows
    if outcome.done_now or outcome.failed_now:
        done, failed = before.done + outcome.done_now, before.failed + outcome.failed_now
        rows = rows.model_copy(update={"done": done, "failed": failed})
    held.events.emit(rows)
