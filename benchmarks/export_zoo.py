"""Add a trained checkpoint to the zoo: with float16 kernels if the metric allows it, judged as it will be loaded.

    PIXELMILL_DATA=DATA python -m benchmarks.export_zoo RUN NAME

NAME.yaml in jobs/recipes is the recipe file that RUN was trained by: its validation and test parts give the metrics on the card.
Kernels stay float32 if float16 changes the main metric by more than a quarter of a percent, or with --float32. Biases and
statistics of normalisations, which are few, always stay float32. A checkpoint that ships under the name is replaced only if it
is worse on the same test part; where its step was selected on some of that part, or it was trained on them, this is printed.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
from torch import nn

from benchmarks.curves import keep
from pixelmill.jobs import catalogue
from pixelmill.jobs.evaluation import judging
from pixelmill.jobs.training.job import TrainJob, read_recipe_file
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training import checkpoints
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.evaluation import evaluate_network, is_better
from pixelmill.pipelines.training.marks import marks_of
from pixelmill.pipelines.training.splits import Split, split
from pixelmill.workers.models import zoo
from pixelmill.workers.models.card import Card
from pixelmill.workers.models.checkpoint import save_checkpoint
from pixelmill.workers.models.marks import marks_file

COST = 2.5e-3
MOST_BYTES = 10_000_000
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a training")
    parser.add_argument("name", help="NETWORK-DATA, the recipe file's name")
    parser.add_argument("--float32", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    text = catalogue.shipped()[options.name].read_text()
    job = read_recipe_file(text, name=options.name, overrides=[], environment=os.environ)
    shipped = zoo.ZOO / f"{options.name}.safetensors"
    judge = Judge(job)
    before, advantage = judge.shipped(shipped) if shipped.exists() else ({}, "")
    network, card, tested = judge.rounded(options.run, float32=options.float32)
    goal, direction = job.recipe.GOAL
    print(f"{goal} on the test part: {tested[goal]:.6g}; what ships has {before.get(goal)}{advantage}")
    if goal in before and not is_better(tested[goal], before[goal], direction):
        raise SystemExit(f"{options.name}: what ships is better, and stays")
    save(shipped, network, card)
    print(keep(Path(options.run), options.name))


class Judge:
    """The held-out parts of a recipe file, and the metrics of networks on them."""

    def __init__(self, job: TrainJob) -> None:
        self.job, self.parts = job, split_of(job)

    def metrics(self, network: nn.Module, card: Card, data: DataSet | None = None) -> dict[str, float]:
        """On the test part; on validation, which selected the step, where there is none."""
        judged = data or self.parts.test or self.parts.held_out
        assert judged is not None
        given = [f"{name}={getattr(self.job.settings, name)}" for name in self.job.recipe.JUDGED_WITH]
        with judging(card, self.job.spec.recipe, given, Access()) as recipe:
            return evaluate_network(recipe, network, judged, CPU)[0]

    def shipped(self, weights: Path) -> tuple[dict[str, float], str]:
        """The metrics of what ships, and what helped it that the rule for trainings forbids."""
        network, card = checkpoints.load_from_store(str(weights), Access())
        judged = set(marks_of(self.parts.test or self.parts.held_out))
        helped = judged & {*card.trained_on, *(card.selected_on or ())}
        return self.metrics(network, card), f", and knew {len(helped)} of its {len(judged)} samples" if helped else ""

    def rounded(self, run: str, *, float32: bool) -> tuple[nn.Module, Card, dict[str, float]]:
        """The network as it will ship, its card, and its metrics on the test part."""
        network, card = checkpoints.load_from_store(run, Access())
        goal, whole = self.job.recipe.GOAL[0], self.metrics(network, card)
        halved = self.metrics(halve(network).float(), card)
        is_half = not float32 and abs(halved[goal] - whole[goal]) <= COST * abs(whole[goal])
        print(f"{goal}: float32 {whole[goal]:.6g}, float16 {halved[goal]:.6g}; kept as float{16 if is_half else 32}")
        if not is_half:
            network, _ = checkpoints.load_from_store(run, Access())
        tested = halved if is_half else whole
        timing = {name: card.metrics[name] for name in ("step", "trained_s") if name in card.metrics}
        selected = self.metrics(network, card, self.parts.held_out)
        changes = {
            "metrics": readable(selected) | timing,
            "test_metrics": readable(tested) if self.parts.test else None,
        }
        return halve(network) if is_half else network, card.model_copy(update=changes), tested


def split_of(job: TrainJob) -> Split:
    spec = job.spec
    return split(
        job.recipe.ROLES,
        spec.data_uris,
        spec.validation_uris,
        spec.hold_out,
        job.settings.seed,
        Access(),
        spec.test_part,
    )


def readable(metrics: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in metrics.items()}


def save(path: Path, network: nn.Module, card: Card) -> None:
    save_checkpoint(path, network, card)
    size = path.stat().st_size
    print(f"{path.name}: {size / 1e6:.2f} MB")
    if size > MOST_BYTES:
        for file in (path, path.with_suffix(".json"), marks_file(path)):
            file.unlink(missing_ok=True)
        raise SystemExit(f"{path.name} is above {MOST_BYTES / 1e6:.0f} MB; train a slimmer one")


def halve(network: nn.Module) -> nn.Module:
    """The network with its kernels and matrices rounded to float16."""
    for parameter in network.parameters():
        if parameter.ndim > 1:
            parameter.data = parameter.data.half()
    return network


if __name__ == "__main__":
    main()
