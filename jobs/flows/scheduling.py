"""Which steps run now: those whose needs are done, side by side within what there is. Plain data, and no process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pixelmill.jobs.flows.graph import needs_of
from pixelmill.jobs.flows.spec import StepSpec

Fate = Literal["waiting", "running", "done", "failed", "held back"]


@dataclass(frozen=True)
class Room:
    """What the machine or the cluster has."""

    cpus: float
    gpus: float = 0.0


@dataclass
class Schedule:
    """What became of each step so far. `order` follows the needs."""

    steps: Mapping[str, StepSpec]
    order: Sequence[str]
    room: Room
    fates: dict[str, Fate] = field(default_factory=dict[str, Fate])

    def __post_init__(self) -> None:
        self.fates = dict.fromkeys(self.order, "waiting")

    def of(self, *fates: Fate) -> list[str]:
        return [name for name in self.order if self.fates[name] in fates]

    @property
    def is_over(self) -> bool:
        return not self.of("waiting", "running")

    def startable(self) -> list[str]:
        """The waiting steps whose needs are done, in order, as far as there is room; a step that states no CPUs runs alone."""
        cpus, gpus = self.room.cpus, self.room.gpus
        for name in self.of("running"):
            cpus, gpus = cpus - self._cpus(name), gpus - self.steps[name].gpus
        is_free, found = not self.of("running"), list[str]()
        for name in self.of("waiting"):
            if any(self.fates[need] != "done" for need in needs_of(self.steps[name])):
                continue
            fits = self._cpus(name) <= cpus and self.steps[name].gpus <= gpus
            if fits or (is_free and not found):  # alone, whatever it asks for: the command itself says what it lacks
                found.append(name)
                cpus, gpus = cpus - self._cpus(name), gpus - self.steps[name].gpus
        return found

    def _cpus(self, name: str) -> float:
        stated = self.steps[name].cpus
        return self.room.cpus if stated is None else stated

    def fail(self, name: str) -> list[str]:
        """A step failed: what depends on it is held back, and gets no chance; gives their names."""
        self.fates[name] = "failed"
        held = list[str]()
        for other in self.of("waiting"):
            if any(self.fates[need] in {"failed", "held back"} for need in needs_of(self.steps[other])):
                self.fates[other] = "held back"
                held.append(other)
        return held
