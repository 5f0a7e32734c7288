"""Follow a bulk run: report its state, and decide whether the job should stop itself."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from pixelmill.jobs.event_stream import EventStream
from pixelmill.jobs.failure_budget import explanation, is_exceeded
from pixelmill.jobs.session import ray_api
from pixelmill.pipelines.bulk.deaths import Trouble, Troubles
from pixelmill.pipelines.bulk.mill import Tally
from pixelmill.pipelines.events import RowsCounted, SampleFailed
from pixelmill.pipelines.outputs.completion import Counted
from pixelmill.pipelines.placement import WorkerPool
from pixelmill.workers.errors import TooManyFailed
from pixelmill.workers.wording import counted

POLL_S, LONGEST_POLL_S = 0.5, 5.0
READING_SHARE = 0.02
"""The share of the time that may be spent on reading reports, which takes the longer the more workers there are; it is exceeded
only where the figures would be older than LONGEST_POLL_S."""
RATE_OVER_S = 30.0
MILLING = "milling"


class Reports(Protocol):
    """The reports of the workers; pipelines/bulk/reports.py reads them from Ray."""

    def tally(self) -> Tally: ...

    def phases(self) -> Counter[str]: ...

    def events(self) -> list[Trouble]: ...

    def starts(self) -> int: ...

    def clear(self) -> None: ...


@dataclass(frozen=True)
class Watched:
    """What is followed: the workers, the inputs of earlier attempts, the inputs of this one, and how many may fail."""

    pool: WorkerPool
    decode_threads: int
    before: Counted
    rows: int
    max_failed_fraction: float


class Watch:
    """Follows the reports while the graph runs; see `watching`."""

    def __init__(self, watched: Watched, reports: Reports, events: EventStream, free: Mapping[str, float]) -> None:
        self._watched, self._reports, self._events = watched, reports, events
        self._free = free
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="watch", daemon=True)
        self._rate = Rate()
        self._troubles = Troubles(watched.pool.actors)
        self._why: str | None = None
        self._began_s: float | None = None
        self._finished, self._deaths, self._written_bytes = 0, 0, 0

    def start(self) -> None:
        self._events.emit(self._rows(Tally(), 0.0))
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(timeout=5)
        with suppress(Exception):
            self._follow_up()
        with suppress(Exception):
            self._reports.clear()

    def raise_if_stopped(self) -> None:
        """Raises TooManyFailed, with the reason, unless all inputs are done anyway."""
        if self._why is not None and self._finished < self._watched.rows:
            raise TooManyFailed(self._why)

    def judge(self, done: int, failed: int, written_bytes: int = 0) -> None:
        """Decide by the published counts whether to stop the job: a short one may be over before the next reports are
        read."""
        self._finished, self._written_bytes = done + failed, written_bytes
        self._troubles.order_finished()
        if self._why is None and self._goes_wrong(done, failed):
            with suppress(Exception):  # only the reports hold the reasons
                self._why = explanation(self._reports.tally(), self._watched.max_failed_fraction)

    def _goes_wrong(self, done: int, failed: int) -> bool:
        return is_exceeded(done, failed, rows=self._watched.rows, max_fraction=self._watched.max_failed_fraction)

    def _follow(self) -> None:
        pause_s = POLL_S
        while not self._over.wait(pause_s):
            began_s = time.monotonic()
            with suppress(Exception):  # nothing but the display depends on the reports
                tally = self._follow_up()
                if self._goes_wrong(tally.done, tally.failed):
                    self._why = explanation(tally, self._watched.max_failed_fraction)
                    return
            pause_s = min(max(POLL_S, (time.monotonic() - began_s) / READING_SHARE), LONGEST_POLL_S)

    def _follow_up(self) -> Tally:
        """Read the reports once and emit them as events."""
        self._hear()
        phases, tally = self._reports.phases(), self._reports.tally()
        if self._began_s is None and (tally.done + tally.failed or phases[MILLING]):
            self._began_s = time.monotonic()
        self._events.phase(self.waited_for(phases, ray_api.available_resources) if self._began_s is None else MILLING)
        self._report(tally, phases.total(), time.monotonic() - self._began_s if self._began_s else 0.0)
        return tally

    def _hear(self) -> None:
        """Report dead workers and failed devices; too many of them end the run."""
        lines = self._troubles.hear(self._reports.events(), self._reports.starts())
        self._deaths += len(lines)
        for line in lines:
            self._events.warn(line)
        self._why = self._why or self._troubles.why()

    def _report(self, tally: Tally, workers: int, working_s: float) -> None:
        for (stage, kind), example in tally.examples.items():
            if f"{stage}/{kind}" not in self._events.status.examples:
                self._events.emit(SampleFailed(stage=stage, error_type=kind, example=example))
        self._events.emit(self._rows(tally, working_s, min(self._watched.pool.actors, workers) or 1))

    def _rows(self, tally: Tally, working_s: float, workers: int = 1) -> RowsCounted:
        before = self._watched.before
        return RowsCounted(
            total=before.total,
            done=before.done + tally.done,
            failed=before.failed + tally.failed,
            reasons={f"{stage}/{kind}": count for (stage, kind), count in tally.reasons.most_common()},
            busy_s=dict(tally.busy_s),
            workers=workers,
            decoders=self._watched.decode_threads,
            working_s=working_s,
            images_per_s=self._rate.update(tally.done + tally.failed),
            batches=dict(tally.batches),
            fetched_bytes=tally.fetched_bytes,
            written_bytes=self._written_bytes,
            gpu_bytes=tally.gpu_bytes,
            deaths=self._deaths,
        )

    def waited_for(self, phases: Counter[str], free_now: Callable[[], Mapping[str, float]]) -> str:
        """What the workers do before the first of them begins to work, or what they wait for before they run."""
        if phases:
            return phases.most_common(1)[0][0]
        pool = self._watched.pool
        for name, each in (("CPU", pool.cpus), ("GPU", pool.gpus)):
            if each > self._free.get(name, 0):  # free before our workers took their share
                return f"waiting for {counted(each, name)}, {free_now().get(name, 0):g} free"
        return "starting the workers"


@contextmanager
def watching(watched: Watched, reports: Reports, events: EventStream) -> Generator[Watch]:
    """Follow the workers within the block. Raises TooManyFailed at its end where the job should stop itself."""
    watch = Watch(watched, reports, events, ray_api.available_resources())
    watch.start()
    try:
        yield watch
    finally:
        watch.stop()
        watch.raise_if_stopped()


class Rate:
    """The rate in rows per second over the last half minute."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()

    def update(self, rows: int) -> float | None:
        now = time.monotonic()
        if rows or self._points:
            self._points.append((now, rows))
        while len(self._points) > 2 and now - self._points[0][0] > RATE_OVER_S:
            self._points.popleft()
        if len(self._points) < 2 or now - self._points[0][0] < 0.5:
            return None
        return (rows - self._points[0][1]) / (now - self._points[0][0])
