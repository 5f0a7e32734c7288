"""Whether an evaluation would gain by OpenVINO: eager PyTorch beside the same network converted, over all of its samples.

    python -m benchmarks.evaluating DATA [--rounds 3]      DATA has camvid/val and mnist/test.parquet

The samples are in memory. A network is converted at its first batch of each shape, which an evaluation in a training would
do each time, as its weights have changed; the second evaluation finds it converted. `repays after` is the number of samples
whose saving is what the conversion takes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from pixelmill.jobs.evaluation import data_to_judge, judging
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training import checkpoints
from pixelmill.pipelines.training.plan import CACHE_BYTES
from pixelmill.pipelines.training.samples import open_samples
from pixelmill.workers.recipes import Recipe, Sample
from pixelmill.workers.recipes.scoring import evaluate
from pixelmill.workers.runtime.openvino import OpenVinoNetwork

CASES = (
    ("unet-camvid", "camvid/val", ("forward",), "miou"),
    ("autoencoder-mnist", "mnist/test.parquet", ("encode", "decode"), "mse"),
)
"""A checkpoint, its data, the methods of the network that its recipe calls, and a metric."""


class Called(nn.Module):
    """A method of a network, as a network."""

    def __init__(self, network: nn.Module, method: str) -> None:
        super().__init__()
        self.network, self.method = network, getattr(network, method)

    def forward(self, values: Tensor) -> Tensor:
        return self.method(values)


class ByShape:
    """A method run by OpenVINO, converted for each shape of its input; in bfloat16 where the recipe allows that."""

    def __init__(self, network: nn.Module, method: str) -> None:
        self._called = Called(network, method)
        self._runs: dict[tuple[int, ...], OpenVinoNetwork] = {}

    def __call__(self, values: Tensor) -> Any:
        shape = tuple(values.shape)
        if shape not in self._runs:
            precision = "bfloat16" if torch.is_autocast_enabled("cpu") else "float32"
            self._runs[shape] = OpenVinoNetwork(self._called, precision, torch.get_num_threads())
        with torch.autocast("cpu", enabled=False):
            return self._runs[shape](values.float())


@dataclass(frozen=True)
class Measured:
    """Seconds of evaluations: eager, by OpenVINO with its conversion, and without; the samples, and the metric of both."""

    samples: int
    eager_s: list[float]
    first_s: list[float]
    second_s: list[float]
    eager: float
    converted: float


def measured(checkpoint: str, uri: str, methods: tuple[str, ...], metric: str, rounds: int) -> Measured:
    access = Access()
    network, card = checkpoints.load_from_store(checkpoint, access)
    network.eval().requires_grad_(False)
    with judging(card, checkpoint, (), access) as recipe:
        samples = list(open_samples(data_to_judge(recipe, card, [uri], "all").data, recipe, CACHE_BYTES))
        evaluated(recipe, network, samples[:64], metric)  # kernels are chosen on first use
        turns = [_turn(recipe, network, samples, methods, metric) for _ in range(rounds)]
    eager_s, first_s, second_s = ([turn[place][0] for turn in turns] for place in range(3))
    (_, eager), _, (_, converted) = turns[0]
    return Measured(len(samples), eager_s, first_s, second_s, eager, converted)


def _turn(
    recipe: Recipe, network: nn.Module, samples: list[Sample], methods: tuple[str, ...], metric: str
) -> list[tuple[float, float]]:
    """Eager, converted, and converted before: seconds and metric."""
    found = [evaluated(recipe, network, samples, metric)]
    runs: dict[str, Callable[[Tensor], Any]] = {method: ByShape(network, method) for method in methods}
    vars(network).update(runs)
    try:
        return [*found, *(evaluated(recipe, network, samples, metric) for _ in range(2))]
    finally:
        for method in methods:
            del vars(network)[method]


def evaluated(recipe: Recipe, network: nn.Module, samples: list[Sample], metric: str) -> tuple[float, float]:
    began_s = time.perf_counter()
    with torch.inference_mode():
        value = evaluate(recipe, network, iter(samples))[metric]
    return time.perf_counter() - began_s, value


def row(checkpoint: str, metric: str, of: Measured) -> list[str]:
    eager_s, first_s, second_s = (statistics.median(each) for each in (of.eager_s, of.first_s, of.second_s))
    saved_s = (eager_s - second_s) / of.samples
    repays = f"{(first_s - second_s) / saved_s:,.0f} samples" if saved_s > 0 else "never"
    shown = [_range(each) for each in (of.eager_s, of.first_s, of.second_s)]
    return [f"{checkpoint}, {of.samples:,}", *shown, repays, f"{metric} {of.eager:.5f}, {of.converted:.5f}"]


def _range(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    table = Table("samples", "eager", "OpenVINO, converted anew", "converted before", "repays after", "metric")
    for checkpoint, place, methods, metric in CASES:
        found = measured(checkpoint, str(options.data / place), methods, metric, options.rounds)
        table.add_row(*row(checkpoint, metric, found))
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
