"""The forward of a network as `pixelmill quantize` makes it, beside float and bfloat16: one thread, batches of 16 in memory.

    python -m benchmarks.int8 PICTURES [--only torchvision:resnet18/random ...] [--rounds 7]

Processor time, in turns. PICTURES are calibrated on and compared on, 48 and 48; `quantize` prints how they agree.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from pixelmill.jobs.quantize import Asked, quantize
from pixelmill.workers.models.backbones import load_backbone
from pixelmill.workers.models.libraries import resolve
from pixelmill.workers.runtime.execution import Executor
from pixelmill.workers.runtime.memory import keep_freed_memory
from pixelmill.workers.runtime.settings import Settings

EAGER = "eager bfloat16"
BATCH = 16


def rows(model: str, file: Path, rounds: int) -> list[list[str]]:
    network, ours = load_backbone(resolve(model)).network, load_backbone(resolve(f"onnx:{file}")).network
    assert network.input_px is not None
    images_BCHW = torch.randint(0, 256, (BATCH, 3, network.input_px, network.input_px), dtype=torch.uint8)
    eager = Settings(precision="bfloat16", microbatch=BATCH)
    by_openvino = Settings(backend="openvino", channels_last=False, microbatch=BATCH)
    runs = {
        EAGER: Executor(network, eager),
        "OpenVINO bfloat16": Executor(network, replace(by_openvino, precision="bfloat16")),
        "OpenVINO int8": Executor(ours, by_openvino),
        "onnxruntime int8": Executor(ours, Settings(microbatch=BATCH)),
    }
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 2):
        for name, run in runs.items():
            start_s = time.process_time()
            run(images_BCHW)
            if turn >= 2:  # kernels are chosen on first use
                rates[name].append(BATCH / (time.process_time() - start_s))
    gains = {name: [a / b for a, b in zip(rates[name], rates[EAGER], strict=True)] for name in runs}
    return [
        [
            model.removesuffix("/random"),
            name,
            f"{statistics.median(rates[name]):.1f}",
            f"{statistics.median(gains[name]):.2f} ({min(gains[name]):.2f} to {max(gains[name]):.2f})",
        ]
        for name in runs
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures")
    parser.add_argument("--only", nargs="+", default=["torchvision:resnet18/random", "torchvision:resnet50/random"])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    table = Table("", "", "images/s", f"to {EAGER}")
    with tempfile.TemporaryDirectory(prefix="pixelmill-int8-") as folder:
        for number, model in enumerate(options.only):
            file = Path(folder) / f"{number}.onnx"
            quantize(Asked(model, options.pictures, str(file), count=48), print)
            for row in rows(model, file, options.rounds):
                table.add_row(*row)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
