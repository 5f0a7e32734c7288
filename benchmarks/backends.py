"""What runs a network on a processor: PyTorch in its best settings, and OpenVINO, on one thread.

    python -m benchmarks.backends [--rounds 5] [--only torchvision:resnet18/random ...]

Processor time of the whole process, in turns, on batches that lie in memory; the cosine is that of the outputs to eager fp32.
`start` is what it takes to trace and convert the network, once in each worker.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace

import torch
from rich.console import Console
from rich.table import Table

from pixelmill.workers.models.backbones import load_backbone
from pixelmill.workers.models.libraries import resolve
from pixelmill.workers.runtime.agreement import Cosine
from pixelmill.workers.runtime.execution import Executor, PixelNetwork
from pixelmill.workers.runtime.memory import keep_freed_memory
from pixelmill.workers.runtime.probing import probe
from pixelmill.workers.runtime.settings import Pins, Settings

MODELS = ("resnet18", "resnet50", "vit_b_16", "convnext_tiny", "mobilenet_v3_large")


def seconds(executor: Executor, images_BCHW: torch.Tensor) -> float:
    start_s = time.process_time()
    executor(images_BCHW)
    return time.process_time() - start_s


def row(name: str, network: PixelNetwork, rounds: int) -> list[str]:
    assert network.input_px is not None
    images_BCHW = torch.randint(0, 256, (16, 3, network.input_px, network.input_px), dtype=torch.uint8)
    best = probe(network, images_BCHW, Settings(), Pins(), Cosine(0.999)).settings
    batch_BCHW = images_BCHW.repeat(best.microbatch // 16 + 1, 1, 1, 1)[: best.microbatch]
    eager = Executor(network, replace(best, precision="float32", channels_last=False, fold_batchnorm=False))
    by_torch = Executor(network, best)
    by_openvino = Executor(network, replace(best, backend="openvino", channels_last=False))
    start_s = seconds(by_openvino, batch_BCHW) - seconds(by_openvino, batch_BCHW)
    truth, made = eager(batch_BCHW), by_openvino(batch_BCHW)
    seconds(by_torch, batch_BCHW)
    pairs = [(seconds(by_torch, batch_BCHW), seconds(by_openvino, batch_BCHW)) for _ in range(rounds)]
    rates = [len(batch_BCHW) / statistics.median(each) for each in zip(*pairs, strict=True)]
    gains = [torch_s / openvino_s for torch_s, openvino_s in pairs]
    return [
        f"{name}, {best.precision}, batch {best.microbatch}",
        *(f"{rate:.1f}" for rate in rates),
        f"{statistics.median(gains):.2f} ({min(gains):.2f} to {max(gains):.2f})",
        f"{start_s:.1f} s",
        f"{float(torch.cosine_similarity(made.flatten(1), truth.flatten(1)).min()):.5f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=[f"torchvision:{name}/random" for name in MODELS])
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    table = Table("", "PyTorch, images/s", "OpenVINO, images/s", "gain", "start", "cosine, worst")
    for name in options.only:
        table.add_row(*row(name, load_backbone(resolve(name)).network, options.rounds))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
