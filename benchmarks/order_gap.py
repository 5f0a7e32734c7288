"""How long a worker waits for its inputs at the start of each order, and in all of it, behind the S3 gateway.

    python -m benchmarks.order_gap [--images 512] [--orders 4] [--decode-threads 0] [--delay-s 0]

One worker in this process, without Ray: the same order of JPEGs again and again, through `embed` with ResNet-18. `first` is the
wait for the first input of an order, `waits` all waits of it together, `order` the whole order, each of the wall clock. With
`--delay-s` every answer of the store is held back by so much, as one far away does.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from rich.console import Console
from rich.table import Table

from benchmarks.in_process_mill import InProcessMill
from pixelmill.pipelines.inputs import fetch
from pixelmill.pipelines.stores.reading import ObjectReader
from pixelmill.workers.runtime.memory import keep_freed_memory
from tests.jpegs import make_jpegs
from tests.servers.gateway import Gateway


class Waits:
    """The waits for inputs, order by order: the first one, and all."""

    def __init__(self) -> None:
        self.orders: list[list[float]] = []

    @contextmanager
    def measured(self, delay_s: float) -> Iterator[None]:
        """Time every input that a stream hands on, and hold back what is read."""
        stream, read = fetch.Fetcher.stream, ObjectReader.read

        def timed(fetcher: Any, rows: Any) -> Iterator[Any]:
            waits: list[float] = []
            self.orders.append(waits)
            inputs = stream(fetcher, rows)
            while True:
                start_s = time.perf_counter()
                found = next(inputs, None)
                waits.append(time.perf_counter() - start_s)
                if found is None:
                    return
                yield found

        def late(reader: Any, *words: Any, **options: Any) -> Any:
            time.sleep(delay_s)
            return read(reader, *words, **options)

        with patch.object(fetch.Fetcher, "stream", timed), patch.object(ObjectReader, "read", late):
            yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--orders", type=int, default=4)
    parser.add_argument("--decode-threads", type=int, default=0)
    parser.add_argument("--delay-s", type=float, default=0.0)
    options = parser.parse_args()
    keep_freed_memory()
    waits, took_s, pictures = Waits(), [], 0
    with tempfile.TemporaryDirectory(prefix="gap-") as folder, Gateway() as gateway:
        make_jpegs(Path(folder) / "pictures", options.images)
        gateway.make_bucket("gap")
        gateway.put_folder("gap", "", Path(folder) / "pictures")
        os.environ.update(gateway.env)
        mill = InProcessMill(
            "torchvision:resnet18/random",
            "s3://gap",
            "cpu",
            decode_threads=options.decode_threads,
            backend="torch",
            out=Path(folder) / "out",
        )
        turns = mill.turns()
        with waits.measured(options.delay_s):
            next(turns)
            for _ in range(options.orders):
                start_s = time.perf_counter()
                pictures = next(turns).pictures
                took_s.append(time.perf_counter() - start_s)
    of_turns = waits.orders[1:]
    table = Table(f"of {pictures} pictures", "first", "waits", "order")
    table.add_row(
        f"{options.delay_s * 1000:.0f} ms away",
        f"{1000 * statistics.median(each[0] for each in of_turns):.0f} ms",
        f"{1000 * statistics.median(sum(each) for each in of_turns):.0f} ms",
        f"{statistics.median(took_s):.1f} s",
    )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
