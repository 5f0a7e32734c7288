"""What the way of upsampling is worth: the same small U-Net trained with each, on CamVid or labels laid out like it.

    python -m benchmarks.upsampling CAMVID --steps 600

CAMVID has train and val, each with images and labels (PNG of class ids), and classes.json. All contenders see the same
pictures in the same order with the same augmentation. One padding, "same": with "valid" there are only two ways.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from workers.networks.upsample import UPSAMPLINGS
from workers.recipes import Sample
from workers.recipes.segmentation import UNetRecipe, UNetSettings


@dataclass(frozen=True)
class Judged:
    """One network after its training."""

    parameters: int
    step_s: float
    loss: float
    metrics: dict[str, float]


def main() -> None:
    arguments = parse_arguments("Train the same U-Net with every way of upsampling, and compare.")
    contenders = {way: settings(arguments, upsampling=way) for way in UPSAMPLINGS}
    compare(arguments, "upsampling", contenders)


def parse_arguments(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("data", type=Path, help="folder with train, val and classes.json")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--base", type=int, default=16, help="channels of the finest level")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each; their mean and spread are shown")
    parser.add_argument("--limit", type=int, help="take only so many pictures of each split")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def settings(arguments: argparse.Namespace, **options: object) -> UNetSettings:
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
    }
    return UNetSettings.model_validate(common | options)


def compare(arguments: argparse.Namespace, what: str, contenders: dict[str, UNetSettings]) -> None:
    """Train and judge each contender, and print a table that grows by a row at a time."""
    torch.set_num_threads(arguments.threads)
    table, console = Table(what, "parameters", "s/step", "last loss", "mIoU", "pixel accuracy"), Console()
    for name, contender in contenders.items():
        recipe = UNetRecipe(contender, {})
        train, val = (read(recipe, arguments.data, split, arguments.limit) for split in ("train", "val"))
        seeds = [train_and_judge(recipe, train, val, seed) for seed in range(arguments.seeds)]
        table.add_row(name, *row(seeds))
        console.print(name, *row(seeds))
    console.print(table)


def row(seeds: Sequence[Judged]) -> tuple[str, ...]:
    mious, accuracies = ([judged.metrics[name] for judged in seeds] for name in ("miou", "pixel_accuracy"))
    spread = f" +- {np.std(mious, ddof=1):.3f}" if len(seeds) > 1 else ""
    return (
        f"{seeds[0].parameters:,}",
        f"{np.median([judged.step_s for judged in seeds]):.2f}",
        f"{np.mean([judged.loss for judged in seeds]):.3f}",
        f"{np.mean(mious):.3f}{spread}",
        f"{np.mean(accuracies):.3f}",
    )


def read(recipe: UNetRecipe, data: Path, split: str, limit: int | None) -> list[Sample]:
    """The samples of a split, in the order of their names."""
    classes = (data / "classes.json").read_bytes()
    pictures = sorted((data / split / "images").iterdir())[:limit]
    labels = [data / split / "labels" / f"{picture.stem}.png" for picture in pictures]
    return [
        recipe.decode({"image": picture.read_bytes(), "label": label.read_bytes(), "classes": classes})
        for picture, label in zip(pictures, labels, strict=True)
    ]


def train_and_judge(recipe: UNetRecipe, train: Sequence[Sample], val: Sequence[Sample], seed: int) -> Judged:
    recipe.prepare(train)
    torch.manual_seed(seed)
    network, random, steps = recipe.network().train(), np.random.default_rng(seed), recipe.settings.steps or 1
    optimizer, took_s, losses = recipe.optimizer(network), list[float](), list[float]()
    batches = shuffled(train, recipe.settings.batch, random)
    for step in range(steps):
        start_s = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = recipe.settings.learning_rate * recipe.rate(step, steps)
        batch = recipe.batch(next(batches), random)
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.settings.precision == "bfloat16"):
            loss = recipe.losses(network, batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        took_s.append(time.perf_counter() - start_s)
        losses.append(loss.item())
    recipe.finish(network, train)
    with torch.inference_mode():
        metrics = recipe.evaluate(network.eval(), val)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Judged(parameters, float(np.median(took_s)), float(np.mean(losses[-20:])), metrics)


def shuffled(samples: Sequence[Sample], batch: int, random: np.random.Generator) -> Iterator[list[Sample]]:
    """Batches of epochs in a new order each; what is left of one begins the next."""
    waiting: list[int] = []
    while True:
        while len(waiting) < batch:
            waiting += random.permutation(len(samples)).tolist()
        yield [samples[index] for index in waiting[:batch]]
        waiting = waiting[batch:]


if __name__ == "__main__":
    main()
