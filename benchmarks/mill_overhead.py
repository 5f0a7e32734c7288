"""What the mill adds to decoding and the forward: one worker in one process, without Ray, beside a loop over the same stage.

    python -m benchmarks.mill_overhead [--images 1000] [--rounds 9] [--backend openvino]

Processor time of a picture in turns, and in which thread: the mill fetches from a local disk, plans, counts memory, collects
batches and makes the table; the loop has the bytes already, decodes them, prepares them and runs the stage. What a job takes
beyond the mill is Ray's and that of its processes (`benchmarks.throughput --shares`).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.in_process_mill import InProcessMill
from benchmarks.synthetic import write_jpegs
from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.pictures import Picture
from pixelmill.workers.runtime.memory import keep_freed_memory

MODEL = "torchvision:resnet18/random"


def taken_s(turn: Callable[[], int]) -> tuple[float, float]:
    """Processor time of a picture: of the process, and of this thread alone."""
    process_s, thread_s = time.process_time(), time.thread_time()
    pictures = turn()
    return (time.process_time() - process_s) / pictures, (time.thread_time() - thread_s) / pictures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--backend", default="auto", choices=["auto", "torch", "openvino"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    with tempfile.TemporaryDirectory(prefix="pixelmill-overhead-") as folder:
        pictures = write_jpegs(Path(folder) / "pictures", options.images)
        files = [path.read_bytes() for path in sorted(pictures.iterdir())]
        mill = InProcessMill(MODEL, pictures, "cpu", decode_threads=0, backend=options.backend)
        turns = mill.turns()
        next(turns)  # settings are probed, and the network is converted
        stage = mill.stage

        def by_loop() -> int:
            for start in range(0, len(files), stage.batch):
                batch = files[start : start + stage.batch]
                stage.run([stage.prepare(Picture(decode_picture(data))) for data in batch])
            return len(files)

        ways: dict[str, Callable[[], int]] = {"the mill": lambda: next(turns).pictures, "a loop": by_loop}
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, turn in ways.items():
                taken[name].append(taken_s(turn))
        print_table(taken, str(mill.stage.settings["backend"]))


def print_table(taken: dict[str, list[tuple[float, float]]], backend: str) -> None:
    table = Table(
        "", "a picture", "of it in the main thread", title=f"ResNet-18 by {backend}, medians of processor time"
    )
    for name, rounds in taken.items():
        table.add_row(name, *(f"{1000 * statistics.median(each):.2f} ms" for each in zip(*rounds, strict=True)))
    mill, loop = taken.values()
    added = [[a - b for a, b in zip(*pair, strict=True)] for pair in zip(mill, loop, strict=True)]
    table.add_row("what the mill adds", *(_spread(each) for each in zip(*added, strict=True)))
    Console(width=120).print(table)


def _spread(seconds: tuple[float, ...]) -> str:
    median, least, most = (1000 * value for value in (statistics.median(seconds), min(seconds), max(seconds)))
    return f"{median:.2f} ({least:.2f} to {most:.2f}) ms"


if __name__ == "__main__":
    main()
