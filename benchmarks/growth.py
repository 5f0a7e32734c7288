"""What a run costs as its rows grow: seconds and memory of everything around the networks.

    python -m benchmarks.growth                 1,000, 10,000 and 100,000 rows, and 10,000 parts
    python -m benchmarks.growth --full          a million rows too: about a quarter of an hour on two cores

Planning lists a store of synthetic keys. The run is a real one, over Parquet files of tiny pictures, with a stage that does
nothing; then its output is accounted for, inspected, and looked into. Every phase is a process of its own. The table shows its
processor time, for a run that of its driver alone, and its peak memory beyond what it held when it began;
a phase that takes more time for each row than with a tenth of the rows is marked.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.growth_phases import memory_bytes

COUNTS, FULL = (1_000, 10_000, 100_000), 1_000_000
PARTS, ROWS_PER_PART = 10_000, 16
FILE_ROWS, GROUP_ROWS = 100_000, 1_000
PLANNING = ("list", "plan", "plan_again")
AFTERWARDS = ("account", "repair", "inspect", "status", "explore")
RESULTS = Path(__file__).parent / "results"
STEEPER = 1.5
"""A phase is marked where each row takes so many times the time that it takes with a tenth of the rows."""

Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS))
    parser.add_argument("--full", action="store_true", help="a million rows too")
    parser.add_argument("--only", choices=["plan", "run", "parts"], help="one of the three")
    options = parser.parse_args()
    counts = [*options.counts, *([FULL] if options.full else [])]
    console, found = Console(width=150), dict[str, dict[str, Figures]]()
    with tempfile.TemporaryDirectory(prefix="pmg-") as folder:
        for count in counts:
            label = f"{count:,}"
            found[label] = _measured(Path(folder), count, options.only)
            console.print(label, {name: round(figures["cpu_s"], 2) for name, figures in found[label].items()})
        if options.only in {None, "parts"}:
            found[f"{PARTS:,} parts"] = _run(Path(folder), PARTS * ROWS_PER_PART, (1 << 20) // ROWS_PER_PART)
    console.print(table_of(found))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "growth.json").write_text(json.dumps(found, indent=1))


def _measured(folder: Path, count: int, only: str | None) -> dict[str, Figures]:
    found: dict[str, Figures] = {}
    if only in {None, "plan"}:
        found |= {phase: _phase(phase, folder / f"plan-{count}", count) for phase in PLANNING}
    if only in {None, "run"}:
        found |= _run(folder, count)
    return found


def _phase(phase: str, out: Path, rows: int) -> Figures:
    command = [sys.executable, "-m", "benchmarks.growth_phases", phase, str(out), str(rows)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _run(folder: Path, rows: int, assumed_bytes: int = 2048) -> dict[str, Figures]:
    """A real run over so many rows, and the phases that read its output afterwards."""
    source, out = folder / f"tiny-{rows}", folder / f"out-{rows}"
    if not source.exists():
        write_tiny(source, rows)
    job = folder / f"job-{rows}.yaml"
    stage = {"column": "level", "assumed_bytes": assumed_bytes}
    written = {"uri": str(out), "file_mb": 1}
    job.write_text(
        json.dumps({"version": 1, "source": {"uri": str(source)}, "stages": [{"level": stage}], "out": written})
    )
    found = {"run": _followed([sys.executable, "-m", "benchmarks.growth_stage", "run", str(job), "--quiet"], out)}
    return found | {phase: _phase(phase, out, rows) for phase in AFTERWARDS}


def _followed(command: list[str], out: Path) -> Figures:
    """A run, and the memory of its driver: at its peak, and that beyond what it had when the workers had begun."""
    began_s = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peak = started = 0
    cpu_s = 0.0
    while process.poll() is None:
        with suppress(OSError, psutil.Error):  # it may just have ended
            peak = max(peak, memory_bytes("VmHWM", process.pid))
            cpu_s = max(cpu_s, sum(psutil.Process(process.pid).cpu_times()[:2]))
        if not started and any(out.glob("data/*.parquet")):
            started = peak
        time.sleep(0.25)
    assert process.stderr is not None
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}: {process.stderr.read()[-4000:]}")
    record = json.loads((out / "_run/attempts/0001/record.json").read_text())
    seconds = {f"of which {name}": value for name, value in record["seconds"].items()}
    added = max(0, peak - started) if started else 0
    whole_s = time.perf_counter() - began_s
    return {"seconds": whole_s, "cpu_s": cpu_s, "added_bytes": added, "peak_bytes": peak, **seconds}


def write_tiny(folder: Path, rows: int) -> None:
    """Parquet files with so many pictures of 8 x 8 pixels, in row groups of a thousand."""
    folder.mkdir()
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (40, 80, 120)).save(file, "PNG")
    for first in range(0, rows, FILE_ROWS):
        count = min(FILE_ROWS, rows - first)
        table = pa.table({"image": pa.array([file.getvalue()] * count, pa.binary())})
        pq.write_table(table, folder / f"{first:09d}.parquet", row_group_size=GROUP_ROWS)


def table_of(found: dict[str, dict[str, Figures]]) -> Table:
    """A row for each phase: processor seconds, added and whole memory."""
    shown = Table("", *found)
    for phase in dict.fromkeys(phase for figures in found.values() for phase in figures):
        cells: list[str] = []
        for label, figures in found.items():
            cells.append(_cell(figures.get(phase), _cost_before(found, label, phase)))
        shown.add_row("driver of the run" if phase == "run" else phase.replace("_", " "), *cells)
    return shown


def _cost_before(found: dict[str, dict[str, Figures]], label: str, phase: str) -> float | None:
    """Processor seconds with a tenth of the rows, times ten; None where that was not measured or too short to say."""
    tenth = found.get(f"{int(label.replace(',', '')) // 10:,}") if "parts" not in label else None
    seconds = tenth[phase]["cpu_s"] if tenth and phase in tenth else 0.0
    return 10 * seconds if seconds > 0.5 else None


def _cell(figures: Figures | None, foreseen_s: float | None) -> str:
    if figures is None:
        return ""
    mark = " (!)" if foreseen_s is not None and figures["cpu_s"] > STEEPER * foreseen_s else ""
    return f"{figures['cpu_s']:.2f} s{mark}, {figures['added_bytes'] / 1e6:.0f} of {figures['peak_bytes'] / 1e6:.0f} MB"


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
