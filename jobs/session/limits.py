"""What ends an attempt before its work is done: a request to stop, a deadline, a budget."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from pixelmill.jobs.session import ray_api
from pixelmill.jobs.supervision.deadlines import seconds_until
from pixelmill.pipelines.outputs.claims import ATTEMPTS, BEAT, STOP, Claim, standing
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.json_files import mapping_in

METER_EVERY_S = 5.0


@dataclass(frozen=True)
class Allowance:
    """What the job file allows: seconds for this attempt, money for all attempts together, and a node's price for an hour."""

    seconds: float = math.inf
    max_cost: float = math.inf
    node_hour_price: float = 0.0

    @classmethod
    def of(cls, deadline: str | None, max_cost: float | None, node_hour_price: float | None, now_s: float) -> Allowance:
        """As the job file says it; `now_s` is the time since 1970 at which the attempt begins."""
        return cls(
            math.inf if deadline is None else seconds_until(deadline, now_s),
            math.inf if max_cost is None else max_cost,
            node_hour_price or 0.0,
        )


class LimitWatch:
    """Looked at with each beat of the attempt that holds `claim`; `why` is None while it may go on."""

    def __init__(self, allowance: Allowance, count_nodes: Callable[[], int] = ray_api.nodes_in_use) -> None:
        self._allowance = allowance
        self._began_s = self._measured_s = time.monotonic()
        self._count_nodes, self._nodes = count_nodes, 1
        self._node_s, self._before_s = 0.0, 0.0
        self._over = threading.Event()
        # Beside the beat: asking a cluster that is gone may hang, and the beat must not.
        self._meter = threading.Thread(target=self._count, name="nodes", daemon=True)
        self.why: str | None = None

    def begin(self, folder: Folder, claim: Claim) -> None:
        """Add up what earlier attempts have taken, and begin to count nodes."""
        if not math.isinf(self._allowance.max_cost):
            self._before_s = sum(node_seconds(folder, epoch) for epoch in range(1, claim.epoch))
        self._meter.start()

    def end(self) -> None:
        self._over.set()

    def _count(self) -> None:
        while not self._over.wait(METER_EVERY_S):
            with suppress(Exception):
                self._nodes = max(1, self._count_nodes())

    @property
    def nodes(self) -> int:
        """The nodes that the attempt uses now."""
        return self._nodes

    @property
    def node_s(self) -> float:
        """Seconds of nodes that this attempt has taken so far."""
        now_s = time.monotonic()
        self._node_s += self._nodes * (now_s - self._measured_s)
        self._measured_s = now_s
        return round(self._node_s, 1)

    @property
    def cost(self) -> float:
        """What all attempts have cost so far."""
        return (self._before_s + self.node_s) / 3600 * self._allowance.node_hour_price

    def look(self, folder: Folder, claim: Claim) -> None:
        """Find out whether the attempt should end."""
        if self.why is None:
            self.why = self._exceeded()
        if self.why is None and folder.read(f"{claim.folder}/{STOP}") is not None:
            self.why = "`pixelmill stop` asked for it"

    def _exceeded(self) -> str | None:
        allowed = self._allowance
        if time.monotonic() - self._began_s >= allowed.seconds:
            return "its deadline (run.deadline) has come"
        if self.cost >= allowed.max_cost:
            return f"all attempts together have cost {self.cost:.2f} of {allowed.max_cost:.2f} (run.max_cost)"
        return None


def node_seconds(folder: Folder, epoch: int) -> float:
    """The seconds of nodes that an attempt had taken at its last beat."""
    return _of_beat(folder, f"{ATTEMPTS}/{epoch:04d}", "node_s", 0.0)


def nodes_of_the_newest(folder: Folder) -> int:
    """The nodes that the newest attempt used at its last beat; 0 before the first beat and after its end."""
    held = standing(folder)
    return 0 if held.has_ended or not held.epoch else int(_of_beat(folder, held.folder, "nodes", 0))


def _of_beat(folder: Folder, attempt: str, key: str, default: float) -> float:
    found = mapping_in(folder.read(f"{attempt}/{BEAT}")).get(key, default)
    return float(found) if isinstance(found, int | float) else default
