"""What decoding by tasks costs (`run.decode_on`), on one machine that is worker and decoding node at once.

    python -m benchmarks.decode_tasks [--images 600] [--rounds 5] [--tasks 1]

One worker in this process embeds the same order of JPEGs of about 500x375 with ResNet-18, in turns by itself and with tasks of a
Ray of this machine. `worker` is the processor time that a picture takes of the worker aside its network: what limits how many
pictures it can give a GPU. `all` is that of every process with the network, `wall` the rate of the wall clock, which other
processes disturb, and `shipped` what a picture takes in Ray's object store.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
import ray
from rich.console import Console
from rich.table import Table

from benchmarks.in_process_mill import InProcessMill, Turn
from pixelmill.pipelines.bulk import arrivals
from pixelmill.pipelines.bulk.decode_nodes import DecodeNodes
from pixelmill.workers.runtime.memory import keep_freed_memory
from tests.jpegs import make_jpegs

STORE_BYTES = 200 << 20


@dataclass(frozen=True)
class Cost:
    """Of one picture: processor time in ms of the worker aside its network, and of all processes, and pictures a second."""

    worker_ms: float
    all_ms: float
    rate: float


def cost_of(turns: Iterator[Turn]) -> Cost:
    """The cost of one turn."""
    wall_s, own_s, all_s = time.perf_counter(), time.process_time(), processor_s()
    turn = next(turns)
    own_s, all_s = time.process_time() - own_s - turn.stage_s, processor_s() - all_s
    rate = turn.pictures / (time.perf_counter() - wall_s)
    return Cost(1000 * own_s / turn.pictures, 1000 * all_s / turn.pictures, rate)


def processor_s() -> float:
    """The processor time of this process and everything that it started and that still runs."""
    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def measured(pictures: Path, rounds: int, tasks: int) -> tuple[list[tuple[Cost, Cost]], float]:
    """The costs without and with tasks, round by round, and the bytes that a picture ships."""
    nodes = DecodeNodes(tasks)
    model = "torchvision:resnet18/random"
    turns = [
        InProcessMill(
            model,
            pictures,
            "cpu",
            decode_threads=0,
            backend="torch",
            out=pictures.with_name(f"out-{name}"),
            decode_on=on,
        ).turns()
        for name, on in (("here", None), ("there", nodes))
    ]
    shipped, rows_in = [0, 0], arrivals.rows_in

    def counted(block: Any, croppings: Any) -> Any:
        rows = list(rows_in(block, croppings))
        shipped[0] += block.nbytes
        shipped[1] += len(rows)
        return iter(rows)

    for each in turns:
        next(each)
    with patch.object(arrivals, "rows_in", counted):
        costs = [(cost_of(turns[0]), cost_of(turns[1])) for _ in range(rounds)]
    return costs, shipped[0] / shipped[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=1)
    options = parser.parse_args()
    keep_freed_memory()
    with tempfile.TemporaryDirectory(prefix="dt-", dir="/tmp") as folder:
        quiet: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "configure_logging": False}
        # Ray keeps as many idle processes as a node has CPUs: tasks of a node without any begin anew after each pause.
        ray.init(num_cpus=options.tasks, object_store_memory=STORE_BYTES, _temp_dir=folder, **quiet)
        make_jpegs(Path(folder) / "pictures", options.images)
        costs, shipped_bytes = measured(Path(folder) / "pictures", options.rounds, options.tasks)
        ray.shutdown()
    table = Table(f"{options.tasks} tasks", "worker, ms", "all, ms", "wall, images/s", "shipped, bytes")
    for name, place, shipped in (("the worker decodes", 0, "-"), ("tasks decode", 1, f"{shipped_bytes:,.0f}")):
        own, every, rate = (
            statistics.median(getattr(pair[place], what) for pair in costs) for what in ("worker_ms", "all_ms", "rate")
        )
        table.add_row(name, f"{own:.2f}", f"{every:.1f}", f"{rate:.0f}", shipped)
    ratios = [
        [getattr(there, what) / getattr(here, what) for here, there in costs]
        for what in ("worker_ms", "all_ms", "rate")
    ]
    spread = [f"{statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f})" for each in ratios]
    table.add_row("ratio, median", *spread, "")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
