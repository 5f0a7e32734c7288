"""The events of one command: stamped, folded into the status that the terminal shows, and kept until they are published."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, cast

from pixelmill.jobs.terminal.display import Terminal
from pixelmill.jobs.terminal.logs import STAGE
from pixelmill.jobs.terminal.views import WORKING, view_of
from pixelmill.pipelines.events import (
    Doing,
    Ended,
    Event,
    InputsFound,
    PartPublished,
    PhaseBegan,
    RowsCounted,
    Started,
    Status,
    StepsCounted,
    Warned,
    coalesced,
)
from pixelmill.workers.credentials import scrub

LOGGER = logging.getLogger(__name__)


class Drained(NamedTuple):
    """Events, and the status after the last of them."""

    events: list[Event]
    status: Status


class EventStream:
    """Takes events from any thread."""

    def __init__(self, terminal: Terminal, doing: Doing, now: Callable[[], float]) -> None:
        self._terminal, self._now = terminal, now
        self._lock = threading.Lock()
        self._kept: list[Event] = []
        self._attempt = 0
        self._status = Status(doing=doing)
        self._counted: tuple[object, ...] = ()
        self._moved_s = time.monotonic()

    @property
    def status(self) -> Status:
        return self._status

    def begin(self, attempt: int) -> None:
        """Assign events to this attempt from now on; the events of its checks, emitted before, become its first."""
        with self._lock:
            self._attempt = attempt
            self._kept = [event.model_copy(update={"attempt": attempt}) for event in self._kept]
            self._status = Status(doing=self._status.doing).fold_all(self._kept)
        self.emit(Started(doing=self._status.doing))

    def emit(self, event: Event) -> None:
        clean = _cleaned(event.model_dump()) | {"at_s": self._now(), "attempt": self._attempt}
        event = type(event).model_validate(clean)
        with self._lock:
            if self._status.ended is not None:
                return  # from a thread that does not know yet that the attempt has ended
            self._status = self._status.fold(event)
            if (counted := _counted(self._status)) != self._counted:
                self._counted, self._moved_s = counted, time.monotonic()
            self._kept[-1:] = coalesced([*self._kept[-1:], event])
            view = view_of(self._status)
        is_brief = isinstance(event, Started | InputsFound) or (
            isinstance(event, PhaseBegan) and view.phase not in WORKING
        )
        (self._terminal.update if is_brief else self._terminal.show)(view)
        LOGGER.log(_level(event), "%s", _described(event), extra={STAGE: getattr(event, "stage", None)})

    def phase(self, phase: str) -> None:
        """Record what the attempt does, or waits for, from now on."""
        if phase != self._status.phase:
            self.emit(PhaseBegan(phase=phase))

    def say(self, text: str) -> None:
        """Print a line to the terminal and to the log."""
        self._terminal.say(text)
        LOGGER.info("%s", text)

    def warn(self, text: str) -> None:
        """Print a line, and record it as a warning for every reader of the attempt."""
        self._terminal.say(text, "warning")
        self.emit(Warned(text=text))

    def quiet_s(self) -> float:
        """For how long nothing was counted that was not counted before: no input, no step, no other phase."""
        return time.monotonic() - self._moved_s

    def drained(self) -> Drained:
        """The events since the last call, and the status that all events add up to."""
        with self._lock:
            kept, self._kept = self._kept, []
            return Drained(kept, self._status)


def _counted(status: Status) -> tuple[object, ...]:
    """What moves while there is progress."""
    steps = None if status.steps is None else status.steps.step
    return status.attempt, status.phase, status.found, status.rows.done, status.rows.failed, steps, status.last_part


def _cleaned(value: Mapping[str, object]) -> dict[str, object]:
    return {key: _clean(each) for key, each in value.items()}


def _clean(value: object) -> object:
    """The value without secrets, and with an escape for each character that UTF-8 can't encode."""
    match value:
        case str():
            return scrub(value).encode("utf-8", "backslashreplace").decode()
        case dict():
            return _cleaned(cast("Mapping[str, object]", value))
        case list() | tuple():
            return [_clean(each) for each in cast("list[object]", value)]
        case _:
            return value


def _level(event: Event) -> int:
    if isinstance(event, InputsFound | RowsCounted | StepsCounted | PartPublished):
        return logging.DEBUG
    if isinstance(event, Ended) and event.error is not None:
        return logging.ERROR
    return logging.WARNING if isinstance(event, Warned) else logging.INFO


def _described(event: Event) -> str:
    fields = event.model_dump(exclude={"kind", "at_s"}, exclude_none=True)
    return f"{event.kind}: {', '.join(f'{name}={value}' for name, value in fields.items())}"
