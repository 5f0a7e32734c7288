"""What the backend brings to the whole mill: reading, decoding, forward and the table, on one thread, in turns.

    python -m benchmarks.mill_backends [--images 512] [--rounds 3] [--only resnet18 resnet50] [--int8]

Processor time of this process for each order of pictures, with PyTorch's best settings and with OpenVINO, by the same worker as
in a job, without Ray. The rest is the mill without its stage: it bounds the gain of any backend. `--int8` gives OpenVINO the file
that `pixelmill quantize` makes of the network, calibrated on 32 of the pictures. From 512 images on settings are probed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.in_process_mill import InProcessMill
from benchmarks.synthetic import write_jpegs
from pixelmill.jobs.quantize import Asked, quantize
from pixelmill.workers.runtime.memory import keep_freed_memory

BACKENDS = ("torch", "openvino")


def row(name: str, pictures: Path, rounds: int, *, is_int8: bool) -> list[str]:
    model = f"torchvision:{name}/random"
    ours = _quantized(model, pictures) if is_int8 else model
    models = {"torch": model, "openvino": ours}
    mills = {
        backend: InProcessMill(models[backend], pictures, "cpu", decode_threads=0, backend=backend)
        for backend in BACKENDS
    }
    turns = {backend: mill.turns() for backend, mill in mills.items()}
    for backend in BACKENDS:
        next(turns[backend])  # settings are probed, and the network is converted
    taken: dict[str, list[float]] = {backend: [] for backend in BACKENDS}
    rest: list[float] = []
    for _ in range(rounds):
        for backend in BACKENDS:
            start_s = time.process_time()
            turn = next(turns[backend])
            taken[backend].append((time.process_time() - start_s) / turn.pictures)
            if backend == "torch":
                rest.append(taken[backend][-1] - turn.stage_s / turn.pictures)
    by_torch, by_openvino = (statistics.median(taken[backend]) for backend in BACKENDS)
    gains = [a / b for a, b in zip(*taken.values(), strict=True)]
    return [
        name,
        f"{1 / by_torch:.1f}",
        f"{1 / by_openvino:.1f}",
        f"{statistics.median(gains):.2f} ({min(gains):.2f} to {max(gains):.2f})",
        f"{1000 * statistics.median(rest):.1f} of {1000 * by_torch:.1f} ms",
    ]


def _quantized(model: str, pictures: Path) -> str:
    place = pictures.with_name(f"{model.split(':')[1].replace('/', '-')}.onnx")
    quantize(Asked(model, str(pictures), str(place), count=32), print)
    return f"onnx:{place}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--int8", action="store_true", help="OpenVINO runs the quantized network")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    table = Table("", "PyTorch, images/s", "OpenVINO, images/s", "gain", "rest of the mill")
    with tempfile.TemporaryDirectory(prefix="pixelmill-mill-") as folder:
        pictures = write_jpegs(Path(folder) / "pictures", options.images)
        for name in options.only:
            table.add_row(*row(name, pictures, options.rounds, is_int8=options.int8))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
