"""What happens in an attempt, as one kind of thing: events, and the status that follows from them.

Terminal, attempt folder, `status.json` and every later reader fold the same events. Counts in an event are those of the whole
run so far and not what was added, so that an event which is read twice, or overtaken by a newer one, changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

Doing = Literal["run", "retry", "train"]
BESIDE = frozenset({"decode", "compress"})
"""Activities that a worker's threads do beside its own, where it has such threads."""


class BaseEvent(BaseModel):
    """When something happened, in seconds since 1970 by the clock of the driver, and in which attempt; 0 before it has one."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    at_s: float = 0.0
    attempt: int = 0


class Started(BaseEvent):
    """An attempt holds its output folder."""

    kind: Literal["started"] = "started"
    doing: Doing = "run"


class PhaseBegan(BaseEvent):
    """The attempt begins to do, or to wait for, something else."""

    kind: Literal["phase"] = "phase"
    phase: str


class InputsFound(BaseEvent):
    """How many new inputs a listing found so far."""

    kind: Literal["found"] = "found"
    found: int


class RowsCounted(BaseEvent):
    """How many inputs are done and failed of all, those of earlier attempts included, and what the workers do meanwhile.

    Reasons are written stage/error_type. `decoders` are the threads that decode beside each worker's own thread, and as many
    compress what was made; `working_s` is how long the workers have been at work.
    """

    kind: Literal["rows"] = "rows"
    total: int = 0
    done: int = 0
    failed: int = 0
    reasons: Mapping[str, int] = Field(default_factory=dict[str, int])
    busy_s: Mapping[str, float] = Field(default_factory=dict[str, float])
    workers: int = 1
    decoders: int = 0
    working_s: float = 0.0
    images_per_s: float | None = None

    @property
    def left_s(self) -> float | None:
        left = self.total - self.done - self.failed
        return left / self.images_per_s if self.images_per_s else None

    @property
    def busy_shares(self) -> dict[str, float]:
        """Share of the workers' time by activity since they began to work, in [0, 1].

        A worker's own activities come one after another, so that their shares sum to 1 at most; what the reports hold
        may be a moment ahead of this clock. Threads that decode beside it have their own time.
        """
        spent_s = self.workers * self.working_s
        if self.working_s <= 0 or spent_s <= 1:
            return {}
        own_s = sum(seconds for name, seconds in self.busy_s.items() if not self._is_beside(name))
        return {
            name: min(
                1.0, seconds / (spent_s * self.decoders) if self._is_beside(name) else seconds / max(spent_s, own_s)
            )
            for name, seconds in self.busy_s.items()
        }

    def _is_beside(self, name: str) -> bool:
        return bool(self.decoders) and name in BESIDE


class StepsCounted(BaseEvent):
    """How far a training is: optimiser steps done of all, the loss since the last event, the metrics of the best checkpoint."""

    kind: Literal["steps"] = "steps"
    step: int
    steps: int
    loss: float | None = None
    images_per_s: float | None = None
    left_s: float | None = None
    metrics: Mapping[str, float] = Field(default_factory=dict[str, float])

    @field_validator("metrics")
    @classmethod
    def _finite(cls, metrics: Mapping[str, float]) -> Mapping[str, float]:
        """JSON has no word for the others."""
        return {name: value for name, value in metrics.items() if math.isfinite(value)}


class PartPublished(BaseEvent):
    """One part of the output is there under its final name."""

    kind: Literal["published"] = "published"
    part: str
    done: int
    failed: int
    written_bytes: int


class SampleFailed(BaseEvent):
    """The first input that failed for a reason; all of them are rows of failed/."""

    kind: Literal["failed-sample"] = "failed-sample"
    stage: str
    error_type: str
    example: str


class Warned(BaseEvent):
    """Something that a person should read, and that does not end the attempt."""

    kind: Literal["warning"] = "warning"
    text: str


class SettingsChosen(BaseEvent):
    """With which settings a stage runs on the workers."""

    kind: Literal["setting"] = "setting"
    stage: str
    settings: Mapping[str, object]


class Ended(BaseEvent):
    """The attempt is over: complete, or the name and text of the error."""

    kind: Literal["ended"] = "ended"
    ended: str
    error: str | None = None


Event = (
    Started
    | PhaseBegan
    | InputsFound
    | RowsCounted
    | StepsCounted
    | PartPublished
    | SampleFailed
    | Warned
    | SettingsChosen
    | Ended
)
_ANY_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="kind")])
OVERTAKEN = (InputsFound, RowsCounted, StepsCounted)
"""Of several of these in a row the last one says it all."""
MOST_WARNINGS = 5


class Status(BaseModel):
    """Where a run is now, as its events say; the fields are those of the events."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    attempt: int = 0
    doing: Doing = "run"
    started_s: float = 0.0
    updated_s: float = 0.0
    phase: str = "checking the job"
    phase_since_s: float = 0.0
    found: int = 0
    rows: RowsCounted = Field(default_factory=RowsCounted)
    steps: StepsCounted | None = None
    examples: Mapping[str, str] = Field(default_factory=dict[str, str])
    warnings: tuple[str, ...] = ()
    settings: Mapping[str, Mapping[str, object]] = Field(default_factory=dict[str, Mapping[str, object]])
    last_part: str | None = None
    ended: str | None = None
    error: str | None = None

    def fold(self, event: Event) -> Status:
        """The status after this event. What an earlier attempt says, once a later one has begun, changes nothing."""
        if event.attempt < self.attempt:
            return self
        before = Status(doing=self.doing) if event.attempt > self.attempt else self
        changes = before._changes(event) | {"attempt": event.attempt, "updated_s": max(before.updated_s, event.at_s)}
        return before.model_copy(update=changes)

    def fold_all(self, events: Iterable[Event]) -> Status:
        status = self
        for event in events:
            status = status.fold(event)
        return status

    def _changes(self, event: Event) -> dict[str, object]:
        match event:
            case Started():
                return {"doing": event.doing, "started_s": event.at_s}
            case PhaseBegan():
                since_s = self.phase_since_s if event.phase == self.phase else event.at_s
                return {"phase": event.phase, "phase_since_s": since_s}
            case RowsCounted():
                return {"rows": event}
            case StepsCounted():
                return {"steps": event}
            case InputsFound():
                return {"found": event.found}
            case PartPublished():
                return {"last_part": event.part}
            case SampleFailed():
                return {"examples": {f"{event.stage}/{event.error_type}": event.example, **self.examples}}
            case Warned():
                others = tuple(text for text in self.warnings if text != event.text)
                return {"warnings": (*others, event.text)[-MOST_WARNINGS:]}
            case SettingsChosen():
                return {"settings": {**self.settings, event.stage: event.settings}}
            case Ended():
                return {"ended": event.ended, "error": event.error}


def coalesced(events: Iterable[Event]) -> list[Event]:
    """The events without those that the next one overtakes: they fold to the same status."""
    kept: list[Event] = []
    for event in events:
        if kept and isinstance(event, OVERTAKEN) and kept[-1].kind == event.kind and kept[-1].attempt == event.attempt:
            kept.pop()
        kept.append(event)
    return kept


def to_line(event: Event) -> str:
    """One line of JSON, without its end."""
    return event.model_dump_json()


def parsed(lines: str) -> list[Event]:
    """The events of such lines; what a later version wrote under kinds that this one does not know is left out."""
    found: list[Event] = []
    for line in lines.split("\n"):  # not splitlines, which takes characters within a text for ends
        try:
            found.append(_ANY_EVENT.validate_json(line))
        except ValidationError:
            continue
    return found
