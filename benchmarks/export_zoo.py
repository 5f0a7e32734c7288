"""Add a trained checkpoint to the zoo: with float16 kernels if the metric allows it, evaluated as it will be loaded.

    python -m benchmarks.export_zoo RUN NAME --data DIR [--split PART]

The metrics on the card are those of the stored weights on the held-out data. Kernels stay float32 if float16 changes the main
metric by more than a quarter of a percent, or with --float32. Biases and statistics of normalisations, which are few, always stay
float32.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import nn

from pixelmill.jobs.evaluation import judging
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training import checkpoints
from pixelmill.pipelines.training.evaluation import evaluate_network
from pixelmill.pipelines.training.unseen import to_evaluate
from pixelmill.workers.models import zoo
from pixelmill.workers.models.card import Card
from pixelmill.workers.models.checkpoint import save_checkpoint
from pixelmill.workers.recipes import Recipe

COST = 2.5e-3
MOST_BYTES = 10_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a training")
    parser.add_argument("name", help="NETWORK-DATA")
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--split", default="auto")
    parser.add_argument("--float32", action="store_true")
    parser.add_argument("--set", action="append", default=[], help="of the recipe's settings, as for pixelmill eval")
    options = parser.parse_args()
    torch.set_num_threads(1)
    network, card = checkpoints.load_from_store(options.run, Access())
    with judging(card, options.run, options.set, Access()) as recipe:
        export(options, recipe, network, card)


def export(options: argparse.Namespace, recipe: Recipe, network: nn.Module, card: Card) -> None:
    found, says = to_evaluate(recipe.ROLES, options.data, options.split, frozenset(card.trained_on), Access())

    def metrics() -> dict[str, float]:
        return evaluate_network(recipe, network, found, torch.device("cpu"))[0]

    goal = recipe.GOAL[0]
    whole = metrics()
    halve(network).float()
    halved = metrics()
    is_half = not options.float32 and abs(halved[goal] - whole[goal]) <= COST * abs(whole[goal])
    print(
        f"{goal} on {says}: float32 {whole[goal]:.6g}, float16 {halved[goal]:.6g}; kept as float{16 if is_half else 32}"
    )
    if not is_half:
        network, _ = checkpoints.load_from_store(options.run, Access())
    kept = {name: round(value, 6) for name, value in (halved if is_half else whole).items()}
    timing = {name: card.metrics[name] for name in ("step", "trained_s") if name in card.metrics}
    path = zoo.ZOO / f"{options.name}.safetensors"
    save_checkpoint(path, halve(network) if is_half else network, card.model_copy(update={"metrics": kept | timing}))
    size = Path(path).stat().st_size
    print(f"{path.name}: {size / 1e6:.2f} MB")
    if size > MOST_BYTES:
        path.unlink()
        path.with_suffix(".json").unlink()
        raise SystemExit(f"{path.name} is above {MOST_BYTES / 1e6:.0f} MB; train a slimmer one")


def halve(network: nn.Module) -> nn.Module:
    """The network with its kernels and matrices rounded to float16."""
    for parameter in network.parameters():
        if parameter.ndim > 1:
            parameter.data = parameter.data.half()
    return network


if __name__ == "__main__":
    main()
