"""Train a recipe file for a few steps with one change at a time, and compare on its validation part, never on its test part.

    python -m benchmarks.ablation jobs/recipes/segnet-camvid.yaml --steps 200 --arm batch=4 steps=400 --arm learning_rate=0.005

The first row is the file as it is, with --steps. An arm is a list of settings; a schedule ends at the last step of each arm.
Each is trained in this process on --threads threads, and evaluated once, after the last step.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.export_zoo import split_of
from pixelmill.jobs.training.job import TrainJob, read_recipe_file
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training import checkpoints
from tests.in_process_training import training_of


def main() -> None:
    arguments = parse_arguments()
    table, console = Table("arm", "steps", "training s", "metric on validation"), Console()
    for arm in ([], *arguments.arm):
        job = job_of(arguments.recipe, [f"steps={arguments.steps}", *arm])
        seconds, steps, metrics = trained(job, arguments.threads)
        goal = job.recipe.GOAL[0]
        row = (" ".join(arm) or "as it is", f"{steps:,}", f"{seconds:.0f}", f"{goal} {metrics[goal]:.4g}")
        table.add_row(*row)
        console.print(*row)
    console.print(table)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Short trainings of a recipe file with one change each.")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--arm", nargs="+", action="append", default=[], help="settings, as for pixelmill train --set")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def job_of(recipe: Path, overrides: Sequence[str]) -> TrainJob:
    text = recipe.read_text()
    job = read_recipe_file(text, name=recipe.name, overrides=list(overrides), environment=os.environ)
    last = max(1, job.settings.steps or 1)
    whole = [*overrides, f"evaluate_every_steps={last}"]
    return read_recipe_file(text, name=recipe.name, overrides=whole, environment=os.environ)


def trained(job: TrainJob, threads: int) -> tuple[float, int, dict[str, float]]:
    """Seconds of training, steps, and the metrics of the last step on the validation part."""
    found = split_of(job)
    with tempfile.TemporaryDirectory(prefix="pma-") as folder, ExitStack() as stack:
        assets = stack.enter_context(checkpoints.assets(job.recipe, job.settings, Access()))
        settings = job.settings.model_dump()
        training = training_of(
            job.spec.recipe, settings, found.train, found.held_out, Path(folder), threads, assets=assets
        )
        training.run()
        return training.progress.trained_s, training.steps, training.progress.metrics


if __name__ == "__main__":
    main()
