"""The curve of labels: which cells there are - an arm, a number of labelled patients, a seed - and in which order they run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pixelmill.workers.errors import JobError

SCRATCH, SHUFFLED, FROZEN = "scratch", "shuffled", "-frozen"
SEARCH_LABELS = 4
"""The number of labels at which each arm's encoder rate is chosen, and at which frozen encoders are compared."""
RATES = (0.1, 0.3, 1.0)
FEW = 4
"""Up to so many labels, `few_seeds` are trained."""


@dataclass(frozen=True)
class Cell:
    """One training. `labels` None: all of the patients."""

    arm: str
    labels: int | None
    seed: int
    rate: float

    @property
    def name(self) -> str:
        return f"cells/{self.arm}_n{self.labels or 'all'}_s{self.seed}_r{self.rate:g}.json"


@dataclass(frozen=True)
class Primary:
    """The comparison that was written down first: at so many labels, by this metric; the arm is chosen on validation."""

    labels: int | None
    metric: str


@dataclass(frozen=True)
class CurvePlan:
    """`encoders` are checkpoints by the name of their arm."""

    encoders: Mapping[str, str]
    labels: Sequence[int | None]
    primary: Primary
    seeds: int = 3
    few_seeds: int = 10
    search_seeds: int = 3
    rates: Sequence[float] = RATES
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def arms(self) -> list[str]:
        control = [SHUFFLED] if self.encoders else []
        return [SCRATCH, *control, *self.encoders]

    @property
    def search_labels(self) -> int | None:
        """The number of labels nearest to SEARCH_LABELS that the curve has."""
        return min(self.labels, key=lambda n: abs(SEARCH_LABELS - n) if n is not None else 10**9)

    def searched(self) -> Iterator[Cell]:
        """The cells that choose the rate of each arm, scratch with the same budget: `search_seeds` seeds of each rate, as one
        seed on few patients often chooses by luck."""
        for arm in self.arms:
            for rate in self.rates:
                yield from (Cell(arm, self.search_labels, seed, rate) for seed in range(self.search_seeds))

    def cells(self, rates: Mapping[str, float]) -> Iterator[Cell]:
        """All cells at the chosen rates, those of the primary comparison first; a frozen encoder at one number of labels
        alone."""
        for labels in sorted(self.labels, key=lambda labels: labels != self.primary.labels):
            seeds = self.few_seeds if labels is not None and labels <= FEW else self.seeds
            for arm in self.arms:
                yield from (Cell(arm, labels, seed, rates[arm]) for seed in range(seeds))
            if labels == self.search_labels:
                yield from (Cell(f"{arm}{FROZEN}", labels, s, 1.0) for arm in self.encoders for s in range(seeds))


def labels_from(text: str) -> list[int | None]:
    """1,2,4,all as numbers, None for all. JobError for anything else."""
    found: list[int | None] = []
    for word in text.split(","):
        if word.strip() != "all" and not (word.strip().isdigit() and int(word) > 0):
            raise JobError(
                f"--n {text}: {word.strip() or 'nothing'} is no number of patients; give some as 1,2,4,8,16,all"
            )
        found.append(None if word.strip() == "all" else int(word))
    return found


def primary_from(text: str, labels: Sequence[int | None], metrics: Sequence[str]) -> Primary:
    """N:METRIC. JobError where the curve has no such point."""
    count, _, metric = text.partition(":")
    wanted = labels_from(count)[0]
    if wanted not in labels or metric not in metrics:
        raise JobError(
            f"--primary {text}: write N:METRIC, N one of {', '.join(str(n or 'all') for n in labels)}, METRIC one of "
            f"{', '.join(metrics)}"
        )
    return Primary(wanted, metric)


def named_encoders(given: Sequence[str]) -> dict[str, str]:
    """NAME=URI, or a URI, whose arm is then called pretrained. JobError where two arms have one name."""
    found: dict[str, str] = {}
    for text in given:
        name, separator, uri = text.partition("=")
        name, uri = (name, uri) if separator and "/" not in name else ("pretrained", text)
        if name in found or name in {SCRATCH, SHUFFLED} or name.endswith(FROZEN) or not name.isidentifier():
            raise JobError(f"--encoder {name}: each arm needs a name of its own; write NAME=URI, as masked=runs/masked")
        found[name] = uri
    return found
