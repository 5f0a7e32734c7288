"""The texts around a bulk run: notes before it, the summary after it."""

from __future__ import annotations

from shlex import quote

from pixelmill.jobs.outcome import Outcome
from pixelmill.jobs.spec import JobSpec
from pixelmill.jobs.terminal.views import duration
from pixelmill.pipelines.inputs.sources import Ignored
from pixelmill.workers.wording import counted


def note_of(spec: JobSpec) -> str | None:
    """The notes of the stages about what the job file leaves out, one line each; None without any."""
    notes = [f"note: {note}" for config in spec.configs if (note := config.note())]
    return "\n".join(dict.fromkeys(notes)) or None


def summary_of(outcome: Outcome, uri: str) -> str:
    """The summary that a person reads at the end of a run."""
    account, seconds = outcome.account, outcome.seconds
    work_s = seconds.get("work", 0) + seconds.get("first_result", 0)
    lines = [f"{account.done:,} done, {account.failed:,} failed of {counted(account.listed, 'input')} in {uri}"]
    if outcome.done_now or outcome.failed_now:
        lines.append(
            f"{outcome.done_now + outcome.failed_now:,} in this run in {duration(sum(seconds.values()))}, "
            f"{(outcome.done_now + outcome.failed_now) / max(work_s, 1e-9):,.1f} images/s once Ray was up"
        )
    else:
        lines.append("nothing was left to do")
    for (stage, kind), count in account.reasons.most_common():
        lines.append(f"  failed: {count:,} {stage}/{kind}")
    if outcome.removed or outcome.changed:
        lines.append(
            f"since it was listed: {counted(outcome.removed, 'input')} gone, {outcome.changed:,} changed; their rows stay"
        )
    if outcome.duplicates:
        lines.append(f"named more than once and done once: {counted(outcome.duplicates, 'input')}")
    if outcome.ignored:
        lines.append(f"ignored: {Ignored(outcome.ignored).says()}")
    lines += [*outcome.made, f"see it with: pixelmill inspect {quote(uri)}"]
    return "\n".join(lines)
