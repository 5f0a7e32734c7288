"""Find the input that kills its worker: what each order had begun is recorded, and a death is counted at the next beginning.

An order whose workers die is done again by Ray. After TOGETHER deaths, or one stall, it is done input by input, and each
input is recorded before it is touched. One that was alone at ALONE deaths, or at one stall, is the culprit: it becomes a
failed row and is never begun again. Two deaths, because a worker may also be killed from outside at the very moment; a
stall needs no second one, since nobody but the input itself had kept the worker busy for so long.

A fault of the device is nobody's death: the order is done again as if it had not been begun.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pixelmill.workers.errors import JobStopped, RowError

TOGETHER, ALONE, OUTSIDE = 2, 2, 3
"""Deaths until an order is done input by input, until an input is blamed, and outside any input until the run ends."""
FAULTS_IN_A_ROW, STARTS_IN_VAIN = 3, 5

DeathCause = Literal["died", "stalled"]


class Notes(Protocol):
    """A small store of one run that outlives its workers."""

    def add(self, key: str, value: str) -> bool:
        """Put the value where there is none yet; whether that was so."""
        ...

    def get(self, key: str) -> str | None: ...

    def put(self, key: str, value: str) -> None: ...

    def remove(self, key: str) -> None: ...


@dataclass
class Record:
    """What is known of one order that was begun and isn't done."""

    order: str
    deaths: int = 0
    is_careful: bool = False
    alone: str | None = None
    """The id of the input that is done at this moment, alone."""
    deaths_alone: dict[str, int] = field(default_factory=dict)
    culprits: dict[str, DeathCause] = field(default_factory=dict)
    has_stalled: bool = False
    is_forgiven: bool = False
    deaths_outside: int = 0

    def count_death(self) -> None:
        """The worker that had begun the order is gone: what that says about its inputs."""
        cause: DeathCause = "stalled" if self.has_stalled else "died"
        self.deaths += 1
        if self.alone is not None:
            self._suspect(self.alone, cause)
        elif self.is_careful:
            self.deaths_outside += 1
        self.is_careful = self.is_careful or self.has_stalled or self.deaths >= TOGETHER
        self.alone, self.has_stalled = None, False

    def _suspect(self, identity: str, cause: DeathCause) -> None:
        self.deaths_outside = 0
        self.deaths_alone[identity] = self.deaths_alone.get(identity, 0) + 1
        if cause == "stalled" or self.deaths_alone[identity] >= ALONE:
            self.culprits[identity] = cause


class Deaths:
    """The bookkeeping of one worker; `begin` and `finish` ask the store twice for an order whose workers don't die."""

    def __init__(self, notes: Notes, stall_s: float) -> None:
        self._notes = notes
        self._stall_s = stall_s
        self._record: Record | None = None

    def begin(self, order: str) -> Careful | None:
        """How to do the order: input by input, or, for None, as ever. JobStopped when its workers die outside any input."""
        self._record = Record(order)
        if self._notes.add(_key(order), _text(self._record)):
            return None
        self._record = Record(**json.loads(self._notes.get(_key(order)) or _text(self._record)))
        if self._record.is_forgiven:
            self._record.is_forgiven = False
        else:
            self._tell(self._record.has_stalled)
            self._record.count_death()
        self._write()
        if self._record.deaths_outside >= OUTSIDE:
            raise JobStopped(
                f"{order}: its worker died {self._record.deaths} times, at last where no picture was being done; "
                "the log.txt of this attempt, below _run/attempts, and the kernel's log (out of memory?) may say why; "
                "what was finished stays"
            )
        return Careful(self) if self._record.is_careful else None

    def finish(self) -> None:
        """The order is published."""
        if self._record is not None:
            self._notes.remove(_key(self._record.order))
            self._record = None

    def begin_alone(self, identity: str | None) -> None:
        """Record the input that is begun next; None when all are done."""
        if self._record is not None:
            self._record.alone = identity
            self._write()

    def reason(self, identity: str) -> RowError | None:
        """Why an input isn't begun any more; None where nothing is held against it."""
        cause = self._record.culprits.get(identity) if self._record else None
        return None if cause is None else _killed(cause, self._stall_s)

    def stall(self) -> None:
        """The worker makes no progress and is about to end itself."""
        if self._record is not None:
            self._record.has_stalled = True
            self._write()

    def forgive(self, fault: str) -> None:
        """The device failed: the order may be begun again as often as if it had not been begun now."""
        if self._record is not None:
            self._record.is_forgiven, self._record.alone = True, None
            self._write()
        _announce(self._notes, "fault", fault)

    def _tell(self, has_stalled: bool) -> None:
        assert self._record is not None
        what = f"made no progress for {self._stall_s:g} s and was ended" if has_stalled else "died"
        _announce(self._notes, "death", f"a worker {what} while it did {self._record.order}; the order is done again")

    def _write(self) -> None:
        assert self._record is not None
        self._notes.put(_key(self._record.order), _text(self._record))


@dataclass(frozen=True)
class Careful:
    """How an order is done after its workers died: input by input, each recorded before it is touched."""

    _deaths: Deaths

    def begin(self, identity: str) -> RowError | None:
        """Record that an input is begun; for one that killed its worker, the reason why it isn't."""
        reason = self._deaths.reason(identity)
        if reason is None:
            self._deaths.begin_alone(identity)
        return reason

    def end(self) -> None:
        """Every input was survived."""
        self._deaths.begin_alone(None)


@dataclass(frozen=True)
class Trouble:
    """What a person at the terminal has to know of."""

    kind: Literal["death", "fault"]
    text: str


EVENT_PREFIX, ORDER_PREFIX, START_PREFIX = "event:", "order:", "start:"


class Start:
    """That a worker was started, until it begins an order: what stays died while it loaded its networks."""

    def __init__(self, notes: Notes) -> None:
        self._notes, self._key = notes, f"{START_PREFIX}{uuid.uuid4().hex}"
        self._is_noted = True
        notes.put(self._key, "")

    def succeeded(self) -> None:
        if self._is_noted:
            self._notes.remove(self._key)
            self._is_noted = False


def event_of(text: str) -> Trouble:
    return Trouble(**json.loads(text))


class Troubles:
    """What the driver hears of deaths and faults, in sentences; `why` says when the run can't continue."""

    def __init__(self, workers: int) -> None:
        self._most_starts = workers + STARTS_IN_VAIN
        self._faults_in_a_row: list[str] = []
        self._starts = 0

    def hear(self, events: Iterable[Trouble], starts: int) -> list[str]:
        """Count what happened; returns the lines that a person should read."""
        self._starts = starts
        lines: list[str] = []
        for event in events:
            if event.kind == "fault":
                self._faults_in_a_row.append(event.text)
            lines.append(
                event.text if event.kind == "death" else f"a device failed: {event.text}; the order is done again"
            )
        return lines

    def order_finished(self) -> None:
        self._faults_in_a_row.clear()

    def why(self) -> str | None:
        """The sentence that ends the run; None while there is hope."""
        if len(self._faults_in_a_row) >= FAULTS_IN_A_ROW:
            return (
                f"the device failed {len(self._faults_in_a_row)} times in a row, and no order was finished between; at last: "
                f"{self._faults_in_a_row[-1]}; look at nvidia-smi and the kernel's log, restart the device or leave it "
                "out, and run the same command again; what was finished stays"
            )
        if self._starts > self._most_starts:
            return (
                f"{self._starts} workers were started and died before they began to work; the log.txt of this "
                "attempt, below _run/attempts, and the kernel's log (out of memory?) may say why; use fewer run.actors or a "
                "smaller model, and run the same command again"
            )
        return None


def announce_death(notes: Notes, text: str) -> None:
    """Let the person at the terminal know of a process that died."""
    _announce(notes, "death", text)


def _announce(notes: Notes, kind: str, text: str) -> None:
    notes.put(f"{EVENT_PREFIX}{uuid.uuid4().hex}", json.dumps({"kind": kind, "text": text}))


def _key(order: str) -> str:
    return f"{ORDER_PREFIX}{order}"


def _text(record: Record) -> str:
    return json.dumps(vars(record))


def _killed(cause: DeathCause, stall_s: float) -> RowError:
    if cause == "stalled":
        fact = f"was alone in its worker and made no progress for {stall_s:g} s (run.stall_s)"
        advice = "raise run.stall_s if it may take longer, and run `pixelmill retry`"
    else:
        fact = f"was alone in its worker at {ALONE} deaths of it, by a crash of its decoder or for want of memory"
        advice = "if the file is sound, use fewer run.actors or more memory, and run `pixelmill retry`"
    return RowError("worker", "KilledWorker", f"{fact}: {advice}")
