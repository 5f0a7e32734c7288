"""Measure the peak memory of a worker over 500 and over 5,000 pictures of 64 x 64 to 24 megapixels.

python -m benchmarks.memory [--counts 500 5000] [--megapixels 24] [--threads 0]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.peak_memory import MEMORY_BYTES, MOST_PX, peak_bytes, write_photos


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[500, 5000])
    parser.add_argument("--megapixels", type=float, default=MOST_PX / 1e6, help="of the largest picture")
    parser.add_argument("--threads", type=int, default=0, help="that decode and encode beside the stages")
    arguments = parser.parse_args()
    console = Console()
    shown = Table("pictures", "peak MB", "beside the first", "seconds", "files", "largest file MB")
    first_bytes = 0
    with tempfile.TemporaryDirectory() as folder:
        for count in arguments.counts:
            photos, out = Path(folder, f"in-{count}"), Path(folder, f"out-{count}")
            write_photos(photos, count, int(arguments.megapixels * 1e6))
            start_s = time.perf_counter()
            peak = peak_bytes(photos, out, arguments.threads)
            seconds = time.perf_counter() - start_s
            first_bytes = first_bytes or peak
            sizes = [file.stat().st_size for file in (out / "data").iterdir()]
            row = (f"{peak / 1e6:,.0f}", f"{peak / first_bytes:.3f}", f"{seconds:.0f}", f"{len(sizes)}")
            shown.add_row(f"{count:,}", *row, f"{max(sizes) / 1e6:.0f}")
    console.print(f"a worker with {MEMORY_BYTES >> 30} GiB, {arguments.threads} threads that decode and encode")
    console.print(shown)


if __name__ == "__main__":
    main()
