"""Compare training steps a second with a bare PyTorch loop on tensors in memory, for the SegNet and autoencoder recipes.

    python -m benchmarks.training [--rounds 3]

The bare loop is written by hand: augmented batches in memory, forward, backward, step. It has the same network, precision,
threads and batch. Both are timed in one process, in turns, after a warm-up, over complete steps of
`pixelmill.pipelines.training.worker.Training` with its data path, schedule, log and checks, without evaluations and checkpoints.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from benchmarks.throughput import RESULTS
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.batches import Batches, ahead
from pixelmill.pipelines.training.layouts.registry import find, layout_of
from pixelmill.pipelines.training.worker import AHEAD, Training
from pixelmill.workers.recipes import Batch
from pixelmill.workers.runtime.memory import keep_freed_memory
from tests.in_process_training import training_of

CASES: dict[str, tuple[str, dict[str, Any], int]] = {
    "autoencoder, 32 px digits, batch 128": (
        "autoencoder",
        {
            "size_px": 32,
            "channels": 1,
            "width": 32,
            "code_channels": 32,
            "crop": False,
            "flip": False,
            "pad": True,
            "batch": 128,
        },
        60,
    ),
    "autoencoder, 128 px photographs, batch 16": ("autoencoder", {"batch": 16}, 12),
    "segnet, width 16, 240x180, batch 4": (
        "segnet",
        {"width": 16, "batch": 4, "precision": "bfloat16", "class_weights": "median"},
        6,
    ),
}


def make_data(folder: Path, recipe: str, settings: dict[str, Any]) -> str:
    """Pictures, and masks for SegNet, of the sizes that the case is about."""
    random = np.random.default_rng(0)
    side = (28, 28) if settings.get("pad") else (240, 180)
    for part in ("images", "labels") if recipe == "segnet" else ("images",):
        (folder / part).mkdir(parents=True)
        for number in range(200):
            if part == "labels":
                coarse = Image.fromarray(random.integers(0, 11, (6, 8), np.uint8)).resize(
                    side, Image.Resampling.NEAREST
                )
            else:
                coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), np.uint8)).resize(side)
            coarse.save(folder / part / f"{number:03d}.png")
    if recipe == "segnet":
        (folder / "classes.json").write_text(json.dumps({"classes": [f"class {n}" for n in range(11)]}))
        return str(folder)
    return str(folder / "images")


def endless(folder: Path, recipe: str, settings: dict[str, Any], threads: int) -> Training:
    """A training that is not over before it is measured."""
    data = make_data(folder / "data", recipe, settings)
    found = find(layout_of("masks" if recipe == "segnet" else "pictures").ROLES, [data], Access())
    return training_of(recipe, settings | {"steps": 1_000_000}, found, None, folder / "out", threads)


def ours(training: Training) -> Iterator[float]:
    """Seconds of each step with everything that a training does for it."""
    source = Batches(training.samples, training.recipe, training.samples.order(0), training.share)
    steps = range(1_000_000)
    began_s = time.perf_counter()
    for step, (indices, passes) in zip(steps, ahead(source(steps), AHEAD), strict=True):
        losses = training.step(step, indices, passes)
        if step % training.plan.log_every_steps == 0:
            losses["loss"].item()  # what is logged is waited for
        yield time.perf_counter() - began_s
        began_s = time.perf_counter()  # the other one ran since


def bare(training: Training) -> Iterator[float]:
    """Seconds of each step of the loop that one would write, over 8 batches that lie in memory."""
    batches = Batches(training.samples, training.recipe, training.samples.order(0), training.share)
    kept: list[Batch] = [passes[0] for _, passes in batches(range(8))]
    network: nn.Module = training.network.train()
    precision = training.settings.precision == "bfloat16"
    began_s = time.perf_counter()
    for batch in cycle(kept):
        training.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision):
            loss = training.recipe.losses(network, batch)["loss"]
        loss.backward()
        if training.settings.max_gradient_norm is not None:
            nn.utils.clip_grad_norm_(network.parameters(), training.settings.max_gradient_norm)
        training.optimizer.step()
        yield time.perf_counter() - began_s
        began_s = time.perf_counter()  # the other one ran since


def rate(steps: Iterator[float], count: int, batch: int) -> float:
    """Images a second over so many steps."""
    return count * batch / sum(next(steps) for _ in range(count))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    keep_freed_memory()
    figures: dict[str, Any] = {}
    for name, (recipe, settings, count) in CASES.items():
        with tempfile.TemporaryDirectory(prefix="pmt-") as folder:
            training = endless(Path(folder), recipe, settings, options.threads)
            contenders = {"pixelmill": ours(training), "bare loop": bare(training)}
            for steps in contenders.values():
                rate(steps, max(2, count // 4), 1)
            rounds = [
                {label: rate(steps, count, training.settings.batch) for label, steps in contenders.items()}
                for _ in range(options.rounds)
            ]
        ratio = statistics.median(each["pixelmill"] / each["bare loop"] for each in rounds)
        medians = {label: statistics.median(each[label] for each in rounds) for label in rounds[0]}
        figures[name] = medians | {"ratio": ratio}
        print(f"{name}: {medians['pixelmill']:,.1f} images/s, bare loop {medians['bare loop']:,.1f}, ratio {ratio:.3f}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "training.json").write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
