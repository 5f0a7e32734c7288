"""One phase of a run of many tiny rows, measured in a process of its own: `python -m benchmarks.growth_phases PHASE FOLDER ROWS`.

Prints one line of JSON: seconds, processor seconds, the memory that the phase took at its peak beyond what the process had when
it began, and the peak of the process.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import fsspec
from fsspec.spec import AbstractFileSystem

from pixelmill.jobs import inspect
from pixelmill.jobs.runs.folders import open_any
from pixelmill.jobs.runs.state import state_of
from pixelmill.pipelines import explore
from pixelmill.pipelines.findings import stored
from pixelmill.pipelines.inputs.sources import Ignored, Source, entries
from pixelmill.pipelines.outputs import completion
from pixelmill.pipelines.outputs.accounting import account
from pixelmill.pipelines.outputs.attempt import Attempt, pending
from pixelmill.pipelines.outputs.contents import progress
from pixelmill.pipelines.outputs.repair import repair
from pixelmill.pipelines.outputs.segments import read_segments
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from tests.pipelines.outputs.by_hand import Held

FILES_PER_FOLDER = 1000
FILE_BYTES, ROW_BYTES = 128 << 20, 2048
"""As of a run that embeds in 512 numbers."""


class SyntheticStore(AbstractFileSystem):
    """A store that lists `synthetic://ROWS` as so many keys, a thousand in a folder, and holds no bytes."""

    protocol = "synthetic"
    cachable = False

    def ls(self, path: str, detail: bool = True, **_: object) -> list[Any]:
        top, *folders = str(self._strip_protocol(path)).split("/")
        folder = "".join(folders)
        rows = int(top)
        if not folder:
            count = -(-rows // FILES_PER_FOLDER)
            return [{"name": f"{top}/{number:07d}", "type": "directory", "size": 0} for number in range(count)]
        first = int(folder) * FILES_PER_FOLDER
        return [
            {
                "name": f"{top}/{folder}/IMG_{row:09d}.jpg",
                "type": "file",
                "size": 100_000 + row % 50_000,
                "ETag": f"{row:032x}",
            }
            for row in range(first, min(first + FILES_PER_FOLDER, rows))
        ]

    def info(self, path: str, **_: object) -> dict[str, Any]:
        return {"name": path, "type": "directory", "size": 0}


class Phases:
    """What is measured, by name; `out` is a run of so many rows, finished unless the phase plans it."""

    def __init__(self, out: Path, rows: int) -> None:
        self._out, self._rows = Folder(str(out), Access()), rows
        self._source = Source((f"synthetic://{rows}",))

    def list(self) -> None:
        found = sum(1 for _ in entries(self._source, Ignored()))
        _require(found, self._rows)

    def plan(self) -> None:
        """List into a manifest and cut it into parts; a second time, compare a new listing with it."""
        segments = read_segments(self._out)
        attempt = Attempt(self._out, Held(len(segments) + 1), lambda px: ROW_BYTES, FILE_BYTES)
        listed = completion.list_source(attempt, segments, self._source, lambda rows: None)
        _require(sum(segment.rows for segment in listed.segments), self._rows)
        _require(listed.added, 0 if segments else self._rows)
        pending(listed.segments, progress(self._out), retry=False)

    plan_again = plan

    def account(self) -> None:
        found = account(self._out, read_segments(self._out))
        _require(found.listed, self._rows)
        _require(found.is_exact, True)

    def repair(self) -> None:
        """What an attempt looks at after one that did not end in order."""
        _require(repair(self._out, read_segments(self._out), lambda: None).rows, 0)

    def inspect(self) -> None:
        _require(inspect.report(self._out, rows=5)["complete"], True)

    def status(self) -> None:
        _require(state_of(open_any(self._out.uri)).state, "complete")

    def explore(self) -> None:
        """What reads all rows of a run afterwards: which rows a result covers, samples by id, ranks, and rows by their ids."""
        from pixelmill.pipelines.findings import chosen_rows, run_facts  # which import torch

        _require(stored.covers_of(self._out)["rows"], self._rows)
        ids = chosen_rows.sampled_ids(self._out, 100)
        _require(len(list(chosen_rows.chosen_rows(self._out, ids, []))), min(100, self._rows))
        best, _ = run_facts.ranked_ids(self._out, "level", 10)
        _require(len(best), 10)
        _require(explore.count_rows(self._out), self._rows)


def _require(found: object, wanted: object) -> None:
    if found != wanted:
        raise SystemExit(f"found {found}, and {wanted} was expected: what was measured is not what it should be")


def measured(phase: Callable[[], None]) -> dict[str, float]:
    with suppress(OSError):  # the peak so far; where the kernel does not reset it, imports count too
        Path("/proc/self/clear_refs").write_text("5")
    before, began_s, began_cpu_s = memory_bytes("VmRSS"), time.perf_counter(), time.process_time()
    phase()
    seconds, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    peak = memory_bytes("VmHWM")
    return {"seconds": seconds, "cpu_s": cpu_s, "added_bytes": max(0, peak - before), "peak_bytes": peak}


def memory_bytes(name: str, pid: int | str = "self") -> int:
    """A line of /proc/PID/status, such as VmRSS or VmHWM, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:")), 0)


def main() -> None:
    phase, out, rows = sys.argv[1:]
    fsspec.register_implementation("synthetic", SyntheticStore)
    print(json.dumps(measured(getattr(Phases(Path(out), int(rows)), phase))))


if __name__ == "__main__":
    main()
