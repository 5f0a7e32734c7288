"""What follows from the attempts so far: the end, or another attempt after a pause. A pure function of how they ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pixelmill.jobs.supervision.causes import Cause

FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 300.0
LONG_ATTEMPT_S = 600.0
"""An attempt that worked for so long is a success of its kind: what went wrong before it no longer counts."""
MOST_HALVINGS = 4


@dataclass(frozen=True)
class Attempted:
    """How an attempt ended, and how long it took. `code` is the exit code that its command would have had."""

    cause: Cause
    code: int
    seconds: float = 0.0


@dataclass(frozen=True)
class End:
    """No further attempt: the command ends with this code."""

    code: int


@dataclass(frozen=True)
class Again:
    """Another attempt after a pause, with batches halved so often."""

    after_s: float
    halvings: int


def next_step(attempts: Sequence[Attempted], retries: int) -> End | Again:
    """What to do after these attempts, of which there is at least one; an error is tried again `retries` times."""
    last, recent = attempts[-1], _recent(attempts)
    halvings = min(MOST_HALVINGS, sum(each.cause == "memory" for each in attempts))
    if last.cause in {"complete", "stopped", "job", "overtaken"}:
        return End(last.code)
    if last.cause == "unreachable" and len(attempts) == 1:
        return End(last.code)
    if last.cause == "memory" and sum(each.cause == "memory" for each in attempts) <= MOST_HALVINGS:
        return Again(FIRST_PAUSE_S, halvings)
    if last.cause in {"error", "memory"} and sum(each.cause == last.cause for each in recent) > retries:
        return End(last.code)
    return Again(pause_s(len(recent)), halvings)


def _recent(attempts: Sequence[Attempted]) -> list[Attempted]:
    """The attempts since the last long one, which counts with them."""
    found: list[Attempted] = []
    for each in reversed(attempts):
        found.append(each)
        if each.seconds >= LONG_ATTEMPT_S:
            break
    return found


def pause_s(failures: int) -> float:
    """The pause after so many failures in a row: 5, 10, 20 s and so on, up to five minutes."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(16, failures - 1))
