"""Measure the peak memory of a worker that processes 500 and 5,000 pictures of 64 x 64 pixels to 24 megapixels.

python -m benchmarks.memory [--counts 500 5000] [--threads 0 2] [--runs 3] [--megapixels 24]

Runs of all counts and numbers of threads alternate, and figures are medians: a peak depends on the moments at which threads meet.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.peak_memory import MEMORY_BYTES, MOST_PX, peak_bytes, write_photos


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[500, 5000])
    parser.add_argument(
        "--threads", type=int, nargs="+", default=[0, 2], help="that decode and encode beside the stages"
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--megapixels", type=float, default=MOST_PX / 1e6, help="of the largest picture")
    arguments = parser.parse_args()
    console = Console()
    peaks: dict[tuple[int, int], list[int]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for count in arguments.counts:
            write_photos(Path(folder, f"in-{count}"), count, int(arguments.megapixels * 1e6))
        for _ in range(arguments.runs):
            for threads in arguments.threads:
                for count in arguments.counts:
                    peak, seconds = measured(Path(folder), count, threads)
                    peaks[threads, count].append(peak)
                    console.print(f"{threads} threads, {count:,} pictures: {peak / 1e6:,.0f} MB in {seconds:.0f} s")
    console.print(f"a worker with {MEMORY_BYTES >> 30} GiB; medians of {arguments.runs} runs")
    console.print(summary(peaks, arguments.counts[0]))


def measured(folder: Path, count: int, threads: int) -> tuple[int, float]:
    """The peak in bytes, and the seconds, of one run over the pictures in `folder`/in-COUNT."""
    out = folder / "out"
    start_s = time.perf_counter()
    peak = peak_bytes(folder / f"in-{count}", out, threads)
    seconds = time.perf_counter() - start_s
    shutil.rmtree(out)
    return peak, seconds


def summary(peaks: dict[tuple[int, int], list[int]], first_count: int) -> Table:
    table = Table("threads", "pictures", "peak MB", "lowest", "highest", f"beside {first_count:,}")
    for (threads, count), found in peaks.items():
        ratio = statistics.median(found) / statistics.median(peaks[threads, first_count])
        figures = [f"{value / 1e6:,.0f}" for value in (statistics.median(found), min(found), max(found))]
        table.add_row(f"{threads}", f"{count:,}", *figures, f"{ratio:.3f}")
    return table


if __name__ == "__main__":
    main()
