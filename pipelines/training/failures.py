"""Which worker failed, on which machine and device: a fault of one GPU of several is found by where it repeats."""

from __future__ import annotations

import json
import re
import socket
from dataclasses import asdict, dataclass
from operator import itemgetter

from pixelmill.pipelines.progress import ProgressStore

FAILURE = "failure"
"""The kind of these reports in the progress store."""

_OF_ANOTHER = re.compile(
    r"closed by peer|connection reset|timed out waiting|ncclRemoteError|remote process exited", re.I
)
"""What a worker says whose peer failed."""


@dataclass(frozen=True)
class Failure:
    """One worker's error; `device` is a name of torch, such as cuda:1."""

    rank: int
    node: str
    device: str
    error: str

    def __str__(self) -> str:
        return f"worker {self.rank} on {self.node}, {self.device}: {self.error}"


def report_failure(store: ProgressStore, rank: int, device: str, error: Exception) -> None:
    """Report this worker's error to the driver, unless it is only that another one failed."""
    text = f"{type(error).__name__}: {error}".strip()
    if not _OF_ANOTHER.search(text):
        first, *_ = text.splitlines()
        failure = Failure(rank, socket.gethostname(), device, first)
        store.reporter(FAILURE)(json.dumps([len(store.reports(FAILURE)), asdict(failure)]))


def failures_in(store: ProgressStore) -> list[Failure]:
    """All failures so far, in their order."""
    found = sorted((json.loads(text) for text in store.reports(FAILURE)), key=itemgetter(0))
    return [Failure(**fields) for _, fields in found]


def repeated(failures: list[Failure]) -> str:
    """A sentence on the device that failed each time; empty where it was not one device of several failures."""
    places = {(failure.node, failure.device) for failure in failures}
    if len(failures) < 2 or len(places) > 1 or not failures[0].device.startswith("cuda"):
        return ""
    node, device = places.pop()
    return f"; each time on {node}, {device}: leave that device out (CUDA_VISIBLE_DEVICES), or drain its node"
