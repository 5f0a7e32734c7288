"""Where the seconds of a short job go: 64 pictures, from the command to its end, several times.

    python -m benchmarks.start [--rounds 5] [--pictures 64] [--dry-run]

Prints the seconds of each phase, which follow each other, and the processor seconds of each kind of process, which tell what a
start costs on a machine that is busy with something else. The first start fills caches and is shown by itself. `--dry-run`
measures `pixelmill embed --dry-run` where settings and rate are cached.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.baselines.limit import MODEL
from tests.jpegs import make_jpegs

OWNERS = {
    "MapWorker": "workers of the mill",
    "gcs_server": "Ray: GCS",
    "raylet/raylet": "Ray: raylet",
    "ray::": "Ray: other workers",
    "/ray/": "Ray: agents and helpers",
    "pixelmill": "driver",
}
"""The owner of a process by a text in its command line; the first match counts."""
RESULTS = Path(__file__).parent / "results"


@dataclass
class Start:
    """One start: seconds by phase, and processor seconds by owner."""

    total_s: float
    phases_s: dict[str, float]
    cpu_s: dict[str, float] = field(default_factory=dict[str, float])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    console = Console(width=150)
    with tempfile.TemporaryDirectory(prefix="pms-") as name:
        folder = Path(name)
        make_jpegs(folder / "in", options.pictures)
        environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
        starts = [started(folder, environment, dry_run=options.dry_run) for _ in range(options.rounds + 1)]
    console.print(table_of(starts[0], starts[1:]))
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps([vars(start) for start in starts], indent=1)
    (RESULTS / ("dry_run.json" if options.dry_run else "start.json")).write_text(text)


def started(folder: Path, environment: Mapping[str, str], *, dry_run: bool = False) -> Start:
    """Run the job once, or only its plan."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    command = [
        str(Path(sys.executable).with_name("pixelmill")),
        "embed",
        str(folder / "in"),
        str(out),
        "--model",
        MODEL,
    ]
    began_s = time.time()
    process = subprocess.Popen(
        [*command, "--dry-run" if dry_run else "--quiet"], env=dict(environment), stdout=subprocess.PIPE
    )
    spent = _followed(process)
    total_s = time.time() - began_s
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return Start(total_s, {} if dry_run else phases_of(out, began_s, total_s), spent)


def _followed(process: subprocess.Popen[bytes]) -> dict[str, float]:
    """Processor seconds by owner, of every process while it was seen: ten times a second."""
    spent: dict[int, tuple[str, float]] = {}
    while process.poll() is None:
        with suppress(psutil.Error):
            whole = psutil.Process(process.pid)
            for each in [whole, *whole.children(recursive=True)]:
                with suppress(psutil.Error):
                    times, words = each.cpu_times(), " ".join(each.cmdline())
                    owner = next((owner for mark, owner in OWNERS.items() if mark in words), "others")
                    spent[each.pid] = owner, times.user + times.system
        time.sleep(0.1)
    by_owner: defaultdict[str, float] = defaultdict(float)
    for owner, seconds in spent.values():
        by_owner[owner] += seconds
    return dict(by_owner)


def phases_of(out: Path, began_s: float, total_s: float) -> dict[str, float]:
    """The record of the attempt; the phases of its workers are sampled twice a second."""
    record = json.loads((out / "_run/attempts/0001/record.json").read_text())
    seconds: dict[str, float] = dict(record["seconds"])
    files = sorted((out / "_run/attempts/0001/events").glob("*.jsonl"))
    events = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    begun = [(event["phase"], event["at_s"] - began_s) for event in events if event["kind"] == "phase"]
    for (phase, since_s), (_, until_s) in zip(begun, [*begun[1:], ("", total_s)], strict=True):
        seconds[f"  {phase}"] = seconds.get(f"  {phase}", 0.0) + until_s - since_s
    seconds["to end"] = total_s - sum(record["seconds"].values())
    return seconds


def table_of(first: Start, others: list[Start]) -> Table:
    table = Table("", "first", "median", "least", "most")
    for title, of in (("phases_s", "phases_s"), ("cpu_s", "cpu_s")):
        for name in dict.fromkeys(name for start in [first, *others] for name in getattr(start, of)):
            seconds = [getattr(start, of).get(name, 0.0) for start in others]
            table.add_row(
                name if title == "phases_s" else f"processor: {name}",
                *_figures(getattr(first, of).get(name, 0.0), seconds),
            )
    spent = [sum(start.cpu_s.values()) for start in others]
    table.add_row("processor, all", *_figures(sum(first.cpu_s.values()), spent))
    table.add_row("all", *_figures(first.total_s, [start.total_s for start in others]))
    return table


def _figures(first: float, others: list[float]) -> list[str]:
    return [f"{seconds:.2f}" for seconds in (first, statistics.median(others), min(others), max(others))]


if __name__ == "__main__":
    main()
