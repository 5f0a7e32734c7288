"""Measure the effect of the upsampling method: the same small U-Net trained with each, on CamVid or data in its layout.

    python -m benchmarks.upsampling CAMVID --steps 600 --seeds 3

CAMVID has train and val, each with images and labels (PNG of class ids), and classes.json. All contenders see the same
pictures in the same order with the same augmentation. One padding, "same": with "valid" there are only two ways. The last step
of each training is judged on the test part: nothing is selected. A difference within the spread of the seeds is none.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.splits import split
from pixelmill.workers.networks.upsample import UPSAMPLINGS
from pixelmill.workers.recipes.registry import recipe_type
from tests.in_process_training import training_of

MASKS = ("miou", "pixel_accuracy")


@dataclass(frozen=True)
class Judged:
    """One network after its training."""

    parameters: int
    step_s: float
    metrics: dict[str, float]


def main() -> None:
    arguments = parser_of("Train the same U-Net with every way of upsampling, and compare.").parse_args()
    contenders = {way: settings(arguments, upsampling=way) for way in UPSAMPLINGS}
    compare(arguments, "upsampling", "unet", MASKS, contenders)


def parser_of(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("data", type=Path, help="folder with train, val and classes.json")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--base", type=int, default=16, help="channels of the finest level")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each; their mean and spread are shown")
    parser.add_argument("--limit", type=int, default=sys.maxsize, help="take only so many samples of each part")
    parser.add_argument("--threads", type=int, default=1)
    return parser


def settings(arguments: argparse.Namespace, **options: object) -> dict[str, Any]:
    """A small padded U-Net with batch normalisation, which is what trains from random weights in a few hundred steps."""
    common = {
        "steps": arguments.steps,
        "batch": arguments.batch,
        "base": arguments.base,
        "padding": "same",
        "batch_norm": True,
        "dropout": 0.0,
        "optimizer": "adamw",
        "learning_rate": 3e-3,
        "weight_decay": 1e-4,
        "schedule": "poly",
        "crop_px": (144, 160),
        "scales": (0.75, 1.5),
        "precision": "bfloat16",
        "evaluate_every_steps": arguments.steps,
    }
    return common | options


def compare(
    arguments: argparse.Namespace,
    what: str,
    recipe: str,
    metrics: Sequence[str],
    contenders: dict[str, dict[str, Any]],
    test: Sequence[str] | float = (),
) -> None:
    """Train and judge each contender, and print a table that grows by a row at a time."""
    found = split(recipe_type(recipe).ROLES, [str(arguments.data)], [], 0, 0, Access(), test)
    assert found.test is not None
    train, judged_on = (data.take(np.arange(min(len(data), arguments.limit))) for data in (found.train, found.test))
    table, console = Table(what, "parameters", "s/step", *metrics), Console()
    for name, contender in contenders.items():
        judged = [
            train_and_judge(recipe, contender | {"seed": seed}, train, judged_on, arguments.threads)
            for seed in range(arguments.seeds)
        ]
        table.add_row(name, *row(judged, metrics))
        console.print(name, *row(judged, metrics))
    console.print(f"{len(train)} samples to train on, {len(judged_on)} to judge, {arguments.seeds} seeds", table)


def row(seeds: Sequence[Judged], metrics: Sequence[str]) -> tuple[str, ...]:
    figures = [spread([judged.metrics[name] for judged in seeds]) for name in metrics]
    return (f"{seeds[0].parameters:,}", f"{np.median([judged.step_s for judged in seeds]):.2f}", *figures)


def spread(figures: Sequence[float]) -> str:
    deviation = f" +- {np.std(figures, ddof=1):.3f}" if len(figures) > 1 else ""
    return f"{np.mean(figures):.3f}{deviation}"


def train_and_judge(recipe: str, settings: dict[str, Any], train: DataSet, test: DataSet, threads: int) -> Judged:
    with tempfile.TemporaryDirectory(prefix="pmu-") as folder:
        training = training_of(recipe, settings, train, test, Path(folder), threads)
        training.run()
    parameters = sum(parameter.numel() for parameter in training.network.parameters())
    return Judged(parameters, training.progress.trained_s / training.steps, training.progress.metrics)


if __name__ == "__main__":
    main()
