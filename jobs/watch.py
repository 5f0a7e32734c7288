"""Follow a bulk run while its graph works: show its state, and decide whether the job should stop itself."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pixelmill.jobs.terminal.display import Rate, Terminal
from pixelmill.pipelines.bulk.deaths import Troubles
from pixelmill.pipelines.bulk.reports import BulkReports
from pixelmill.pipelines.placement import WorkerPool
from pixelmill.workers.errors import JobStopped

if TYPE_CHECKING:
    from pixelmill.jobs.run import Run


POLL_S = 0.5
MILLING = "milling"


class Watch:
    """Follows the reports while the graph runs: shows it, and notes when the job should stop itself."""

    def __init__(self, run: Run, reports: BulkReports, terminal: Terminal, pool: WorkerPool) -> None:
        self._run, self._reports, self._terminal, self._pool = run, reports, terminal, pool
        self._free = _free()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="watch", daemon=True)
        self._rate, self._base = Rate(), (run.view.done, run.view.failed)
        self._troubles = Troubles(pool.actors)
        self._why: str | None = None

    def __enter__(self) -> Watch:
        self._terminal.show(self._run.view)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(timeout=5)
        with suppress(Exception):
            self._reports.clear()
        self._run.outcome.busy_shares = {k: round(v, 3) for k, v in self._run.view.busy_shares().items()}
        self.raise_if_stopped()

    def raise_if_stopped(self) -> None:
        outcome = self._run.outcome
        if self._why is not None and outcome.done_now + outcome.failed_now < self._run.rows:
            raise JobStopped(self._why)

    def judge(self, done: int, failed: int) -> None:
        """Whether the job should stop itself by what is published: a short one may be over before the reports are read again."""
        self._troubles.order_finished()
        if self._why is None and self._run.goes_wrong(done, failed):
            with suppress(Exception):  # without the reports there is nothing to say why
                self._why = self._run.why_it_stops(self._reports.tally())

    def _follow(self) -> None:
        began_s: float | None = None
        while not self._over.wait(POLL_S):
            with suppress(Exception):  # nothing but the display depends on the reports
                self._hear()
                phases, tally = self._reports.phases(), self._reports.tally()
                if began_s is None and (tally.done + tally.failed or phases[MILLING]):
                    began_s = time.monotonic()
                self._run.view.phase = self._phase(phases) if began_s is None else MILLING
                self._run.view.workers = min(self._pool.actors, phases.total()) or 1
                self._show(tally, time.monotonic() - began_s if began_s else 0.0)
                if self._run.goes_wrong(tally.done, tally.failed):
                    self._why = self._run.why_it_stops(tally)
                    return

    def _hear(self) -> None:
        """Say which workers died or devices failed; too many of them end the run."""
        for line in self._troubles.hear(self._reports.events(), self._reports.starts()):
            self._terminal.say(line)
        self._why = self._why or self._troubles.why()

    def _show(self, tally: Any, working_s: float) -> None:
        view = self._run.view
        view.done, view.failed = self._base[0] + tally.done, self._base[1] + tally.failed
        view.reasons, view.busy_s, view.working_s = tally.reasons, tally.busy_s, working_s
        view.images_per_s = self._rate.update(tally.done + tally.failed)
        self._terminal.show(view)

    def _phase(self, phases: Counter[str]) -> str:
        """What the workers are at before the first of them begins; before any runs, what they wait for."""
        if phases:
            return phases.most_common(1)[0][0]
        for name, each in (("CPU", self._pool.cpus), ("GPU", self._pool.gpus)):
            if each > self._free.get(name, 0):  # free before ours took theirs
                return f"waiting for {each:g} {name}{'s' * (each != 1)}, {_free().get(name, 0):g} free"
        return "starting the workers"


def _free() -> dict[str, float]:
    """What nobody uses of the cluster at this moment."""
    import ray

    return dict(ray.available_resources())
