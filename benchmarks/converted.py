"""What a worker takes to start a network by OpenVINO: traced and converted anew, or as an earlier worker kept it.

    python -m benchmarks.converted [--rounds 5]

Each start is a process of its own, with one thread. What is measured begins with the network in memory and torch imported, and
ends with the first batch: median and range of wall clock, and of processor time.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.backends import AGREEMENTS, DENSE_PX
from pixelmill.workers.models.backbones import load_backbone
from pixelmill.workers.models.libraries import load_model, resolve
from pixelmill.workers.models.tasks import Task
from pixelmill.workers.prediction.labels import Labels
from pixelmill.workers.runtime.converted_models import ConvertedModels
from pixelmill.workers.runtime.execution import Executor, PixelNetwork
from pixelmill.workers.runtime.settings import Settings

NETWORKS: tuple[tuple[str, Task], ...] = (
    ("torchvision:resnet18/random", "embed"),
    ("torchvision:resnet50/random", "embed"),
    ("unet-camvid", "segment"),
)
Seconds = tuple[float, float]
"""By the clock and of the processor."""


def start_s(model: str, task: Task, folder: str | None) -> Seconds:
    """What the first batch takes, with what is kept in the folder, or without one."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.filterwarnings("ignore")
    network, size, batch = _network(model, task)
    if folder is not None:
        network = replace(network, converted=ConvertedModels(Path(folder) / "models", model, AGREEMENTS[task]))
    images_BCHW = torch.randint(0, 256, (batch, 3, *size), dtype=torch.uint8)
    settings = Settings(backend="openvino", precision="bfloat16", channels_last=False, microbatch=batch)
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    Executor(network, settings)(images_BCHW)
    return time.perf_counter() - began_s, time.process_time() - began_cpu_s


def _network(model: str, task: Task) -> tuple[PixelNetwork, tuple[int, int], int]:
    """The network as its stage runs it, the size of its pictures, and how many it takes at once."""
    if task == "embed":
        network = load_backbone(resolve(model)).network
        assert network.input_px is not None
        return network, (network.input_px, network.input_px), 16
    loaded = load_model(resolve(model, task), task)
    return replace(loaded, module=Labels(loaded.module)).network, DENSE_PX, 1


def in_a_process(model: str, task: Task, folder: str | None) -> Seconds:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(start_s, (model, task, folder))


def measured(model: str, task: Task, rounds: int) -> tuple[list[Seconds], list[Seconds]]:
    """Starts without a folder, and with what is kept in one; in turns."""
    with tempfile.TemporaryDirectory(prefix="pixelmill-converted-") as folder:
        in_a_process(model, task, folder)
        if not list((Path(folder) / "models").glob("*.blob")):
            raise SystemExit(f"{model}: nothing was kept, since it does not agree with PyTorch")
        both = [(in_a_process(model, task, None), in_a_process(model, task, folder)) for _ in range(rounds)]
    return [before for before, _ in both], [kept for _, kept in both]


def _shown(starts: list[Seconds]) -> list[str]:
    return [
        f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"
        for seconds in zip(*starts, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    table = Table("first batch", "converted anew", "processor", "kept", "processor")
    for model, task in NETWORKS:
        before, kept = measured(model, task, options.rounds)
        table.add_row(model.removesuffix("/random"), *_shown(before), *_shown(kept))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
