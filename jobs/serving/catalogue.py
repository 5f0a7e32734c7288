"""The runs that are served: those that were named, and those that lie below a folder that was named."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from pixelmill.jobs.places import absolute
from pixelmill.jobs.runs.folders import RunFolder, found_in, runs_below
from pixelmill.jobs.serving.served_run import Holds, ServedRun
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError

CURVE = "curve.json"
LOOK_AGAIN_S = 20.0
MOST_RUNS = 2_000


class Catalogue:
    """Runs by a number that each keeps. Folders are looked through again, so that new runs appear."""

    def __init__(self, places: Sequence[str], scratch: Path, environment: Mapping[str, str]) -> None:
        """JobError for a place that holds neither a run nor runs below it."""
        self._scratch, self._environment = scratch, environment
        self._runs: list[ServedRun] = []
        self._folders: list[str] = []
        self._lock = threading.Lock()
        self._looked_s = time.monotonic()
        for place in places:
            self._open(place)

    def runs(self) -> list[ServedRun]:
        """Every run, the newest found last."""
        with self._lock:
            if self._folders and time.monotonic() - self._looked_s > LOOK_AGAIN_S:
                self._looked_s = time.monotonic()
                for folder in self._folders:
                    self._add_below(folder)
            return list(self._runs)

    def run(self, number: int) -> ServedRun:
        """JobError for a number that there is not."""
        if number >= len(self._runs):
            raise JobError(f"there is no run {number}; {len(self._runs)} are served")
        return self._runs[number]

    def close(self) -> None:
        for run in self._runs:
            run.close()

    def _open(self, place: str) -> None:
        folder = Folder(absolute(place), Access())
        with explained(place, "reading the output folder"):
            found = found_in(folder)
            is_curve = found is None and folder.exists(CURVE)
        if is_curve:
            self._add(folder, "curve")
        elif found is not None:
            self._add(folder, found.kind)
        else:
            before = len(self._runs)
            self._add_below(folder.uri)
            if len(self._runs) == before:
                raise JobError(
                    f"{place}: there is no run here, and none up to three folders below it; name a folder that pixelmill wrote"
                )
            self._folders.append(folder.uri)

    def _add_below(self, uri: str) -> None:
        for found in runs_below(uri):
            if len(self._runs) < MOST_RUNS:
                self._add(found.folder, found.kind)

    def _add(self, folder: Folder, kind: Holds | None) -> None:
        if all(run.folder.uri != folder.uri for run in self._runs):
            number = len(self._runs)
            opened = RunFolder(folder, None if kind == "curve" else kind, None)
            self._runs.append(
                ServedRun(number, opened, kind, self._scratch / f"rows-{number}.duckdb", self._environment)
            )
