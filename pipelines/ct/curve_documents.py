"""What a curve of labels writes down as JSON: the result of each cell, the plan, and the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field


class Document(BaseModel):
    """A frozen part of such a file. Keys of later versions are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_json(self) -> bytes:
        return json.dumps(self.model_dump(), indent=1).encode()

    @classmethod
    def of(cls, stored: bytes) -> Self:
        """Raises ValidationError where these bytes are no such document."""
        return cls.model_validate(json.loads(stored))


class CellResult(Document):
    """One training, judged. `labels` None: all patients. `test` has the scores of each patient by its number, in the order of
    their names, which are not stored. `tested_on` is a digest of the test part's slices."""

    arm: str
    labels: int | None = None
    seed: int
    rate: float
    slices: int
    tested_on: str | None = None
    validation: Mapping[str, float]
    test: Mapping[str, Mapping[str, float]]


class Gain(Document):
    """A difference of two arms with its interval."""

    mean: float
    low: float
    high: float
    confidence: float
    excludes_zero: bool


class Point(Document):
    """One arm at one number of labels by one metric: mean and standard deviation over seeds, and what it gains."""

    arm: str
    labels: int | None = None
    metric: str
    mean: float
    deviation: float
    seeds: int
    gain: Gain | None = None
    """Over scratch."""
    gain_over_control: Gain | None = None
    """Over the same weights, shuffled."""


class PrimaryResult(Document):
    """The comparison that was written down first, and what it showed."""

    labels: int | None = None
    metric: str
    arm: str | None = None
    result: Point | None = None


class Earlier(Document):
    """What an earlier report was of: the test part was looked at then."""

    labels: Sequence[int | None]
    seeds: int
    few_seeds: int


class CurveReport(Document):
    """curve.json."""

    primary: PrimaryResult
    without_learning: Mapping[str, Mapping[str, float]]
    points: Sequence[Point]
    arms: Sequence[str]
    rates: Mapping[str, float] = Field(default_factory=dict[str, float])
    earlier_reports: tuple[Earlier, ...] = ()


class StoredPrimary(Document):
    labels: int | None = None
    metric: str


class StoredPlan(Document):
    """plan.json: what has to stay the same when a curve goes on."""

    encoders: Mapping[str, str]
    labels: Sequence[int | None]
    primary: StoredPrimary
    seeds: int
    few_seeds: int
    search_seeds: int = 1
    """1 in plans that were written before there was such a key."""
    rates: Sequence[float]
    settings: Mapping[str, Any]
    validation: float
    test: float
    earlier_reports: tuple[Earlier, ...] = ()
