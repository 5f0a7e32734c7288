"""The events of an attempt, and the status that follows from them.

Terminal, attempt folder, `status.json` and every later reader fold the same events. Counts in an event are totals of
the run so far, not differences, so that an event that is read twice or late changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

Doing = Literal["run", "retry", "train", "flow"]
BESIDE = frozenset({"decode", "compress"})
"""Activities that a worker's threads do beside its own, where it has such threads."""


class BaseEvent(BaseModel):
    """`at_s` is the time in seconds since 1970 by the driver's clock; `attempt` is 0 before the attempt has a
    number."""

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
    """The number of new inputs that a listing found so far."""

    kind: Literal["found"] = "found"
    found: int


class RowsCounted(BaseEvent):
    """The numbers of inputs done and failed of all, including earlier attempts, and the activities of the workers.

    Reasons are written stage/error_type. `decoders` are the threads that decode beside each worker's own thread, and as many
    compress what was made; `working_s` is how long the workers have been at work. Bytes, batches and deaths of workers are
    of this attempt; `gpu_bytes` is what all workers hold on their GPUs.
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
    batches: Mapping[str, int] = Field(default_factory=dict[str, int])
    fetched_bytes: int = 0
    written_bytes: int = 0
    gpu_bytes: int = 0
    deaths: int = 0

    @property
    def left_s(self) -> float | None:
        left = self.total - self.done - self.failed
        return left / self.images_per_s if self.images_per_s else None

    @property
    def busy_shares(self) -> dict[str, float]:
        """The share of the workers' time by activity since they began to work, in [0, 1].

        The activities of a worker's own thread follow each other, so their shares sum to at most 1; reports may be
        slightly ahead of this clock. Threads that decode beside it are counted separately.
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
    """The progress of a training: optimiser steps, the loss since the last event, the metrics of the best
    checkpoint."""

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
        """Drop values that are not finite: JSON can't hold them."""
        return {name: value for name, value in metrics.items() if math.isfinite(value)}


class PartPublished(BaseEvent):
    """One part of the output was published under its final name."""

    kind: Literal["published"] = "published"
    part: str
    done: int
    failed: int
    written_bytes: int


class SampleFailed(BaseEvent):
    """The first input that failed for a reason; failed/ has a row for each."""

    kind: Literal["failed-sample"] = "failed-sample"
    stage: str
    error_type: str
    example: str


class Warned(BaseEvent):
    """A message that a person should read, and that does not end the attempt."""

    kind: Literal["warning"] = "warning"
    text: str


class SettingsChosen(BaseEvent):
    """The settings with which a stage runs on the workers."""

    kind: Literal["setting"] = "setting"
    stage: str
    settings: Mapping[str, object]


class Ended(BaseEvent):
    """The attempt has ended: complete, or with the name and text of an error."""

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
"""Of several such events in a row, the last one suffices."""
MOST_WARNINGS = 5


class Status(BaseModel):
    """The state of a run according to its events; the fields are those of the events."""

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
        """The status after this event. Events of an earlier attempt change nothing once a later one has begun."""
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
    """The events without those that the next one replaces: they fold to the same status."""
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
    """The events of such lines; kinds that only a later version knows are left out."""
    found: list[Event] = []
    for line in lines.split("\n"):  # not splitlines, which also splits at characters within a text
        try:
            found.append(_ANY_EVENT.validate_json(line))
        except ValidationError:
            continue
    return found
