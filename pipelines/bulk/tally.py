"""The progress of a worker: rows, reasons of failures with an example for each, and seconds by activity."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import RowError

Report = Callable[["Tally"], None]
"""Receives a worker's reports, about one each second; a lost report loses no row."""

REPORT_EVERY_S = 1.0


@dataclass
class Tally:
    """Counts of inputs, and seconds; seconds of decoding are summed over all decoding threads."""

    done: int = 0
    failed: int = 0
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    examples: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    busy_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict[str, float](float))
    batches: Counter[str] = field(default_factory=Counter[str])
    """Batches by stage: with `busy_s`, how long one takes."""
    fetched_bytes: int = 0
    gpu_bytes: int = 0
    """Memory that this worker holds on its GPU at this moment."""

    def add(self, other: Tally) -> None:
        self.done += other.done
        self.failed += other.failed
        self.reasons.update(other.reasons)
        self.examples = other.examples | self.examples
        for name, seconds in other.busy_s.items():
            self.busy_s[name] += seconds
        self.batches.update(other.batches)
        self.fetched_bytes += other.fetched_bytes
        self.gpu_bytes += other.gpu_bytes

    def count_failure(self, error: RowError, uri: str) -> None:
        self.failed += 1
        reason = (error.stage, error.error_type)
        self.reasons[reason] += 1
        self.examples.setdefault(reason, f"{scrub(uri)}: {error}")

    @contextmanager
    def timed(self, name: str) -> Generator[None]:
        start_s = time.perf_counter()
        try:
            yield
        finally:
            self.busy_s[name] += time.perf_counter() - start_s

    def to_json(self) -> str:
        reasons = [[*reason, count, self.examples[reason]] for reason, count in self.reasons.items()]
        facts = {"busy_s": self.busy_s, "batches": self.batches}
        memory = {"fetched_bytes": self.fetched_bytes, "gpu_bytes": self.gpu_bytes}
        return json.dumps({"done": self.done, "failed": self.failed, "reasons": reasons, **facts, **memory})

    @classmethod
    def from_json(cls, text: str | bytes) -> Tally:
        raw = json.loads(text)
        reasons = Counter({(stage, kind): count for stage, kind, count, _ in raw["reasons"]})
        examples = {(stage, kind): example for stage, kind, _, example in raw["reasons"]}
        busy_s, batches = defaultdict(float, raw["busy_s"]), Counter[str](raw["batches"])
        return cls(
            raw["done"], raw["failed"], reasons, examples, busy_s, batches, raw["fetched_bytes"], raw["gpu_bytes"]
        )


class TallyReporter:
    """Reports a tally every REPORT_EVERY_S at most."""

    def __init__(self, tally: Tally, report: Report) -> None:
        self._tally, self._report = tally, report
        self._reported_s = time.monotonic()

    def report_if_due(self) -> None:
        if time.monotonic() - self._reported_s > REPORT_EVERY_S:
            self.report()

    def report(self) -> None:
        self._report(self._tally)
        self._reported_s = time.monotonic()
