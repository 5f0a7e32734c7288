"""The state of a run, from its folder alone: what its newest attempt published, and whether that still changes.

    queued        submitted, and no attempt has begun since
    running       its newest attempt shows signs of life
    stalled       it shows signs of life, but has made no progress for STALLED_S
    failed        its newest attempt ended with an error that no further attempt would help, or ran out of tries
    interrupted   its newest attempt was stopped, killed or lost, or is about to be tried again: it can be resumed
    complete      _SUCCESS is there, and no later attempt began

A sign of life is a beat that changes while it is watched, by the watcher's own clock: clocks of two machines are never compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, cast

from pixelmill.jobs.runs.folders import RunFolder
from pixelmill.jobs.session.holding import is_gone
from pixelmill.jobs.submission import records
from pixelmill.jobs.submission.records import Submitted
from pixelmill.jobs.supervision.causes import Cause
from pixelmill.pipelines.events import Status
from pixelmill.pipelines.outputs.claims import AGAIN, ATTEMPTS, BEAT, LEASE_S, RECORD, STOP, Standing, standing
from pixelmill.pipelines.outputs.columns import SUCCESS
from pixelmill.pipelines.outputs.self_report import read_status
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.json_files import mapping_in

State = Literal["queued", "running", "stalled", "failed", "interrupted", "complete"]
STALLED_S = 600.0
POLL_S = 1.0
_FAILED: frozenset[Cause] = frozenset({"error", "memory", "job"})


@dataclass(frozen=True)
class RunState:
    """The state, and what it is read from."""

    run: RunFolder
    state: State
    why: str
    attempt: int
    status: Status | None
    record: dict[str, Any] | None
    submitted: Submitted | None
    beat: dict[str, Any]


@dataclass(frozen=True)
class _Read:
    """One look at a folder."""

    run: RunFolder
    now: Standing
    is_complete: bool
    record: dict[str, Any] | None
    beat: bytes | None
    is_gone: bool
    submitted: Submitted | None
    status: Status | None

    @property
    def is_open(self) -> bool:
        """Whether only further looks can say if the attempt lives."""
        return bool(self.now.epoch) and not self.now.has_ended and not self.is_gone


def states_of(runs: Iterable[RunFolder], wait: Callable[[float], None] = time.sleep) -> list[RunState]:
    """The states of several runs at once: watching takes as long as for one, a lease where a holder is silent."""
    with ThreadPoolExecutor(16, "states") as threads:
        first = list(threads.map(_read, runs))
        changed = _watched([each for each in first if each.is_open], threads, wait)
        again = list(threads.map(_read_again, first))
    return [_judged(each, lives=each.run.uri in changed) for each in again]


def state_of(run: RunFolder, wait: Callable[[float], None] = time.sleep) -> RunState:
    return states_of([run], wait)[0]


def _watched(opened: Sequence[_Read], threads: ThreadPoolExecutor, wait: Callable[[float], None]) -> set[str]:
    """The runs whose newest attempt shows a sign of life within a lease."""
    until_s, alive = time.monotonic() + LEASE_S, set[str]()
    left: list[_Read] = list(opened)
    while left and time.monotonic() < until_s:
        wait(POLL_S)
        signs = list(threads.map(_has_changed, left))
        moved = [each for each, has_changed in zip(left, signs, strict=True) if has_changed]
        alive |= {each.run.uri for each in moved}
        left = [each for each in left if each not in moved]
    return alive


def _has_changed(before: _Read) -> bool:
    folder = before.run.folder
    beat = folder.read(f"{before.now.folder}/{BEAT}")
    return (
        beat != before.beat
        or folder.exists(f"{before.now.folder}/{RECORD}")
        or standing(folder).epoch > before.now.epoch
    )


def _read(run: RunFolder) -> _Read:
    folder, now = run.folder, standing(run.folder)
    holders = [mapping_in(folder.read(f"{now.folder}/{name}")) for name in now.claims] if not now.has_ended else []
    return _Read(
        run,
        now,
        folder.exists(SUCCESS),
        mapping_in(folder.read(f"{now.folder}/{RECORD}")) if now.has_ended else None,
        folder.read(f"{now.folder}/{BEAT}") if now.epoch else None,
        bool(holders) and all(map(is_gone, holders)),
        records.newest(folder),
        read_status(folder),
    )


def _read_again(before: _Read) -> _Read:
    return _read(before.run) if before.is_open else before


def _judged(read: _Read, *, lives: bool) -> RunState:
    state, why = _state(read, lives=lives)
    return RunState(
        read.run, state, why, read.now.epoch, read.status, read.record, read.submitted, mapping_in(read.beat)
    )


def _state(read: _Read, *, lives: bool) -> tuple[State, str]:
    """The state and its reason, in words."""
    is_submitted = read.submitted is not None and read.submitted.epoch > read.now.epoch
    if read.now.epoch and not read.now.has_ended and not read.is_gone and lives:
        return _living(read)
    if is_submitted and read.submitted is not None:
        if read.run.folder.exists(read.submitted.stop_name):
            return "interrupted", "it was asked to stop before it began"
        return (
            "queued",
            f"submitted {read.submitted.submitted_at} to {read.submitted.address} as {read.submitted.submission_id}",
        )
    if not read.now.epoch:
        return "interrupted", "no attempt has begun"
    if not read.now.has_ended:
        gone = "its process ended" if read.is_gone else f"it has shown no sign of life for {LEASE_S:g} s"
        return "interrupted", f"attempt {read.now.epoch} did not end in order: {gone}"
    return _ended(read)


def _living(read: _Read) -> tuple[State, str]:
    quiet_s = mapping_in(read.beat).get("quiet_s")
    if isinstance(quiet_s, int | float) and quiet_s > STALLED_S:
        return "stalled", f"attempt {read.now.epoch} lives, and has made no progress for {quiet_s / 60:.0f} min"
    return "running", f"attempt {read.now.epoch}"


def _ended(read: _Read) -> tuple[State, str]:
    record = read.record or {}
    ended, error = str(record.get("ended", "complete")), record.get("error")
    if ended == "complete":
        return ("complete", f"attempt {read.now.epoch}") if read.is_complete else ("interrupted", "_SUCCESS is missing")
    cause = cast("Cause", record.get("cause") or ("interruption" if ended == "KeyboardInterrupt" else "error"))
    why = f"attempt {read.now.epoch} ended by {ended}" + (f": {error}" if error else "")
    if read.run.folder.exists(f"{read.now.folder}/{AGAIN}"):
        is_over = read.run.folder.exists(f"{read.now.folder}/{STOP}")
        return "interrupted", f"{why}; it was {'asked to stop since' if is_over else 'to be tried again'}"
    return ("failed" if cause in _FAILED else "interrupted"), why


def attempts_of(folder: Folder) -> list[dict[str, Any]]:
    """The records of the attempts that ended, in their order."""
    found = [mapping_in(folder.read(f"{ATTEMPTS}/{epoch}/{RECORD}")) for epoch in folder.folders(ATTEMPTS)]
    return [record for record in found if record]
