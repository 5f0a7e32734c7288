"""What runs a network on a processor: eager PyTorch in its best settings, compiled, OpenVINO, ONNX Runtime; one thread each.

    python -m benchmarks.backends [--copies 2] [--rounds 5] [--only torchvision:resnet18/random embed ...]
    python -m benchmarks.backends --dense

Processor time, in turns, on batches in memory; with two copies, which run at once, the rates are added. A dash stands for a
backend that does not run the network, or is never tried. `start` is the time that OpenVINO takes to trace and convert the
network, once in each worker; `figure` is the worst agreement of its outputs with eager float32, in the stage's own measure. ONNX
Runtime computes in float32, and is no backend of a job.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import statistics
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from pixelmill.workers.models.backbones import load_backbone
from pixelmill.workers.models.libraries import load_model, resolve
from pixelmill.workers.models.tasks import Task
from pixelmill.workers.prediction.labels import LabelAgreement, Labels
from pixelmill.workers.prediction.trial_pictures import probe_size
from pixelmill.workers.runtime.agreement import Agreement, Cosine, Decibels, RelativeError, figure_of
from pixelmill.workers.runtime.backend_trial import by_openvino, compiled
from pixelmill.workers.runtime.execution import Executor, PixelNetwork
from pixelmill.workers.runtime.memory import keep_freed_memory
from pixelmill.workers.runtime.probing import probe
from pixelmill.workers.runtime.settings import Pins, Settings

MODELS = tuple(f"torchvision:{name}/random" for name in ("resnet18", "resnet50", "mobilenet_v3_large", "vit_b_16"))
DENSE: tuple[tuple[str, Task], ...] = (
    ("monodepth-kitti", "depth"),
    ("fcn8s-camvid", "segment"),
    ("unet-camvid", "segment"),
    ("segnet-camvid", "segment"),
    ("faststyle-wave", "stylize"),
)
AGREEMENTS: dict[Task, Agreement] = {
    "embed": Cosine(0.999),
    "depth": RelativeError(0.01),
    "segment": LabelAgreement(),
    "stylize": Decibels(40.0),
}
CONTENDERS = ("eager", "compiled", "OpenVINO", "ONNX Runtime")
DENSE_PX = (384, 512)
"""The height and width of pictures for networks that take any size: those of a photograph of 500x375, padded."""


@dataclass(frozen=True)
class Measured:
    """One network: pictures a second of each contender, by the turn, and what OpenVINO took to start and how it agrees."""

    settings: Settings
    rates: dict[str, list[float]]
    start_s: float
    figure: float | None


def measured(model: str, task: Task, rounds: int) -> Measured:
    torch.set_num_threads(1)
    keep_freed_memory()
    warnings.filterwarnings("ignore")
    network, images_BCHW = _network(model, task)
    best = probe(network, images_BCHW[:16], Settings(), Pins(), AGREEMENTS[task]).settings
    batch_BCHW = images_BCHW[: best.microbatch]
    runs: dict[str, Callable[[Tensor], Any]] = {}
    seconds: dict[str, float] = {}
    for name in CONTENDERS:
        try:
            run = _contender(name, network, best, batch_BCHW)
            seconds[name] = _seconds(run, batch_BCHW)
            runs[name] = run
        except Exception:  # exporters and compilers raise many kinds for what they do not support
            continue
    rates = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            rates[name].append(len(batch_BCHW) / _seconds(run, batch_BCHW))
    if "OpenVINO" not in runs:
        return Measured(best, rates, 0.0, None)
    eager = replace(best, precision="float32", channels_last=False, fold_batchnorm=False)
    figure = figure_of(AGREEMENTS[task], runs["OpenVINO"](batch_BCHW), Executor(network, eager).in_one_pass(batch_BCHW))
    return Measured(best, rates, seconds["OpenVINO"] - _seconds(runs["OpenVINO"], batch_BCHW), figure)


def _network(model: str, task: Task) -> tuple[PixelNetwork, Tensor]:
    """The network as its stage runs it, with 64 pictures of noise, or 4 of a network that takes any size."""
    if task == "embed":
        network = load_backbone(resolve(model)).network
        assert network.input_px is not None
        return network, torch.randint(0, 256, (64, 3, network.input_px, network.input_px), dtype=torch.uint8)
    loaded = load_model(resolve(model, task), task)
    network = replace(loaded, module=Labels(loaded.module)).network if task == "segment" else loaded.network
    size = DENSE_PX if loaded.size.resize_px is None else probe_size(loaded.size)
    coarse_BCHW = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return network, (torch.nn.functional.interpolate(coarse_BCHW, size, mode="bicubic").clamp(0, 1) * 255).byte()


def _contender(name: str, network: PixelNetwork, best: Settings, batch_BCHW: Tensor) -> Callable[[Tensor], Any]:
    if name == "compiled" and network.input_px is None:
        raise NotImplementedError("networks that take any size are compiled on request alone")
    if name == "ONNX Runtime":
        return _by_onnx_runtime(network, batch_BCHW)
    settings = {"eager": best, "compiled": compiled(best), "OpenVINO": by_openvino(best, network)}[name]
    return Executor(network, settings).in_one_pass


def _by_onnx_runtime(network: PixelNetwork, batch_BCHW: Tensor) -> Callable[[Tensor], Any]:
    import onnxruntime

    written, example_BCHW = io.BytesIO(), torch.zeros(batch_BCHW.shape)
    export: Any = torch.onnx.export  # its stubs leave out buffers
    with redirect_stdout(io.StringIO()):  # it prints the whole graph of what it can't export
        export(network.module.eval(), (example_BCHW,), written, dynamo=False, opset_version=17)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(written.getvalue(), options, providers=["CPUExecutionProvider"])
    name, std = session.get_inputs()[0].name, torch.tensor(network.std)
    scale_1C11, shift_1C11 = (1 / (255 * std)).view(1, -1, 1, 1), (-torch.tensor(network.mean) / std).view(1, -1, 1, 1)
    return lambda images_BCHW: session.run(
        None, {name: torch.addcmul(shift_1C11, images_BCHW.float(), scale_1C11).numpy()}
    )


def _seconds(run: Callable[[Tensor], Any], images_BCHW: Tensor) -> float:
    start_s = time.process_time()
    with torch.inference_mode():
        run(images_BCHW)
    return time.process_time() - start_s


def row(model: str, copies: list[Measured]) -> list[str]:
    first = copies[0]
    settings = f"{model.removesuffix('/random')}, {first.settings.precision}, batch {first.settings.microbatch}"
    shown = [_rate(copies, name) for name in CONTENDERS]
    pairs = [pair for each in copies for pair in zip(each.rates.get("OpenVINO", []), each.rates["eager"], strict=False)]
    gains = [ours / eager for ours, eager in pairs]
    gain = f"{statistics.median(gains):.2f} ({min(gains):.2f} to {max(gains):.2f})" if gains else "-"
    figure = "-" if first.figure is None else f"{first.figure:.5f}"
    return [settings, *shown, gain, f"{first.start_s:.1f} s", figure]


def _rate(copies: list[Measured], name: str) -> str:
    if any(name not in each.rates for each in copies):
        return "-"
    return f"{sum(statistics.median(each.rates[name]) for each in copies):.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--copies", type=int, default=1, help="processes of one thread, at once")
    parser.add_argument("--dense", action="store_true", help="networks that make maps and pictures")
    parser.add_argument("--only", nargs=2, metavar=("MODEL", "TASK"), help="one network")
    options = parser.parse_args()
    chosen: Any = DENSE if options.dense else [(model, "embed") for model in MODELS]
    table = Table("images/s", *CONTENDERS, "OpenVINO to eager", "start", "figure")
    with multiprocessing.get_context("spawn").Pool(options.copies) as pool:
        for model, task in [options.only] if options.only else chosen:
            copies = pool.starmap(measured, [(model, task, options.rounds)] * options.copies, chunksize=1)
            table.add_row(*row(model, copies))
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
