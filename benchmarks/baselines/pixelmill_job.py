"""The `pixelmill` command, measured from outside.

python -m benchmarks.baselines.pixelmill_job --source FOLDER|s3://... --out FOLDER --images N --json FILE
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.baselines.limit import MODEL
from benchmarks.baselines.measurement import PeakMemory, task_from_command_line


def orders_of(out: Path) -> list[tuple[float, float, int]]:
    """(start, end, rows) of every order, from the metadata of its data file; times in unix seconds."""
    orders = []
    for file in sorted((out / "data").glob("*.parquet")):
        parquet = pq.ParquetFile(file)
        milled = json.loads(parquet.schema_arrow.metadata[b"pixelmill"])["milled"]
        orders.append((milled["started_s"], milled["ended_s"], parquet.metadata.num_rows))
    return orders


def steady_rate(orders: list[tuple[float, float, int]]) -> float:
    """Images finished after the first 10 %, divided by the time that they took, at a constant rate within each order."""
    total = sum(rows for _, _, rows in orders)

    def finished_by(moment_s: float) -> float:
        return sum(rows * min(1.0, max(0.0, (moment_s - a) / (b - a))) for a, b, rows in orders)

    low, high = min(a for a, _, _ in orders), max(b for _, b, _ in orders)
    end_s = high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if finished_by(middle) < total / 10 else (low, middle)
    return 0.9 * total / (end_s - high)


def main() -> None:
    task = task_from_command_line(__doc__)
    command = [str(Path(sys.executable).with_name("pixelmill")), "embed", task.source, str(task.out), "--model", MODEL]
    started_s = time.time()
    process = subprocess.Popen([*command, "--quiet"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    memory = PeakMemory(process.pid)
    with memory if task.memory else nullcontext():
        _, errors = process.communicate()
    total_s = time.time() - started_s
    if process.returncode:
        raise SystemExit(f"pixelmill ended with {process.returncode}: {errors.decode()}")
    attempt: dict[str, Any] = json.loads((task.out / "_run/attempts/0001/record.json").read_text())
    first_s = min(file.stat().st_mtime for file in (task.out / "data").glob("*.parquet"))
    figures = {
        "images": sum(rows for _, _, rows in orders_of(task.out)),
        "total_s": total_s,
        "first_result_s": first_s - started_s,
        "steady_images_per_s": steady_rate(orders_of(task.out)),
        "seconds": attempt["seconds"],
        "busy_shares": attempt["busy_shares"],
        "settings": attempt["settings"],
    }
    if task.memory:
        figures |= {"peak_rss_bytes": memory.rss_bytes, "peak_pss_bytes": memory.pss_bytes}
    task.json.parent.mkdir(parents=True, exist_ok=True)
    task.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
