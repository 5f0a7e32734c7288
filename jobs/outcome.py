"""How a bulk run ended, for its caller, for the record of the attempt, and as an exit code."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, NotRequired, TypedDict

from pixelmill.jobs.supervision.causes import Cause, cause_of
from pixelmill.jobs.versions import versions
from pixelmill.pipelines.outputs.accounting import Account
from pixelmill.pipelines.outputs.completion import Listed
from pixelmill.workers.credentials import scrub

EXIT_COMPLETE, EXIT_FAILED, EXIT_WITH_FAILURES, EXIT_INTERRUPTED = 0, 1, 3, 130


@dataclass
class Outcome:
    """`account` counts the whole output; all other numbers are of this attempt."""

    account: Account = field(default_factory=Account)
    added: int = 0
    removed: int = 0
    changed: int = 0
    duplicates: int = 0
    ignored: dict[str, int] = field(default_factory=dict[str, int])
    repaired: int = 0
    done_now: int = 0
    failed_now: int = 0
    written_bytes: int = 0
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    busy_shares: dict[str, float] = field(default_factory=dict[str, float])
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    made: list[str] = field(default_factory=list[str])
    """What was made of the rows beside them (jobs/finishing.py), in words."""

    def add_listing(self, listed: Listed) -> None:
        self.added, self.duplicates = listed.added, listed.duplicates
        self.removed, self.changed = listed.removed, listed.changed
        self.ignored = listed.ignored

    @property
    def images_per_s(self) -> float | None:
        """Inputs per second since Ray was up; None where there was no work."""
        working_s = self.seconds.get("first_result", 0.0) + self.seconds.get("work", 0.0)
        return round((self.done_now + self.failed_now) / working_s, 2) if working_s else None


def exit_code_of(outcome: Outcome, failures: Literal["exit-3", "ok"]) -> int:
    """0 for a complete run. Where inputs failed, 3, or 0 if `failures` is ok and any input was done."""
    is_fine = not outcome.account.failed or (failures == "ok" and outcome.account.done > 0)
    return EXIT_COMPLETE if is_fine else EXIT_WITH_FAILURES


class Stopwatch:
    """Measures phases: each mark adds the seconds since the last mark to its name."""

    def __init__(self, started_s: float, seconds: dict[str, float], now: Callable[[], float]) -> None:
        self._last_s, self._now = started_s, now
        self.started_s, self.seconds = started_s, seconds

    def mark(self, name: str) -> None:
        now_s = self._now()
        self.seconds[name] = round(self.seconds.get(name, 0) + now_s - self._last_s, 3)
        self._last_s = now_s

    def mark_once(self, name: str) -> None:
        """As `mark`, but only the first time for each name."""
        if name not in self.seconds:
            self.mark(name)

    @property
    def now_s(self) -> float:
        """The time in seconds since 1970."""
        return self._now()

    @property
    def total_s(self) -> float:
        return round(self._now() - self.started_s, 3)


class Ending(TypedDict):
    """The fields that the records of bulk runs and trainings share."""

    attempt: int
    conditional_writes: bool
    started_at: str
    seconds_total: float
    host: str
    versions: dict[str, str]
    ended: str
    """complete, or the name of the error."""
    error: str | None
    cause: NotRequired[Cause]
    """Records of earlier versions have none."""


class ListingRecord(TypedDict):
    """What an attempt found in the source."""

    added: int
    removed: int
    changed: int
    duplicates: int
    ignored: dict[str, int]


class AttemptRecord(Ending):
    """The record of an attempt at a bulk run, `_run/attempts/NNNN/record.json`."""

    seconds: dict[str, float]
    done: int
    failed: int
    written_bytes: int
    images_per_s: float | None
    repaired: int
    listing: ListingRecord
    settings: Mapping[str, object]
    busy_shares: dict[str, float]


def ending_of(error: BaseException | None, epoch: int, *, is_fenced: bool, stopwatch: Stopwatch) -> Ending:
    """How the attempt of this epoch ended, without secrets."""
    return {
        "attempt": epoch,
        "conditional_writes": is_fenced,
        "started_at": datetime.fromtimestamp(stopwatch.started_s, UTC).isoformat(timespec="seconds"),
        "seconds_total": stopwatch.total_s,
        "host": socket.gethostname(),
        "versions": versions(),
        "ended": "complete" if error is None else type(error).__name__,
        "error": None if error is None else scrub(str(error))[:2000],
        "cause": cause_of(error),
    }


def record_of(outcome: Outcome, ending: Ending) -> AttemptRecord:
    return {
        **ending,
        "seconds": outcome.seconds,
        "done": outcome.done_now,
        "failed": outcome.failed_now,
        "written_bytes": outcome.written_bytes,
        "images_per_s": outcome.images_per_s,
        "repaired": outcome.repaired,
        "listing": {
            "added": outcome.added,
            "removed": outcome.removed,
            "changed": outcome.changed,
            "duplicates": outcome.duplicates,
            "ignored": outcome.ignored,
        },
        "settings": outcome.settings,
        "busy_shares": outcome.busy_shares,
    }
