"""Cluster the codes of a trained autoencoder by k-means, and compare them with raw pixels and with PCA of the same size.

    python -m benchmarks.cluster_codes CHECKPOINT TRAIN.parquet TEST.parquet

Both tables have the columns image (struct of bytes) and label. Clusters and PCA are fitted on TRAIN, without labels, and
judged on TEST: normalised mutual information, and accuracy under the best matching of clusters to labels.

Legend: N pictures, D numbers in a code.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import PCA

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.layouts.registry import find, layout_of
from pixelmill.pipelines.training.reading import read_samples
from pixelmill.workers.evaluation.clustering import cluster
from pixelmill.workers.models.checkpoint import load_checkpoint
from pixelmill.workers.networks.autoencoder import ConvAutoencoder
from pixelmill.workers.networks.vae import Vae
from pixelmill.workers.recipes import Recipe, Sample, squares
from pixelmill.workers.recipes.registry import recipe_of

BATCH = 256

Network = ConvAutoencoder | Vae


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    network, card = load_checkpoint(arguments.checkpoint)
    assert isinstance(network, Network)
    recipe = recipe_of(card)
    train = read(arguments.train, recipe, arguments.train_count)
    test = read(arguments.test, recipe, None)
    labels_N = np.array([int(sample["label"]) for sample in test])
    print(f"{len(train):,} codes to fit on, {len(test):,} to judge, {arguments.seeds} seeds\n")
    print("| space | numbers | NMI | accuracy |\n|---|---|---|---|")
    for name, (train_ND, test_ND) in spaces(network, recipe, train, test).items():
        found = cluster(train_ND, test_ND, labels_N, range(arguments.seeds))
        print(f"| {name} | {train_ND.shape[1]} | {spread(found.nmi)} | {spread(found.accuracy)} |", flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="k-means on codes, beside raw pixels and PCA.")
    parser.add_argument("checkpoint", type=Path, help="NAME.safetensors or a folder, of an autoencoder")
    parser.add_argument("train", type=Path, help="Parquet with image and label")
    parser.add_argument("test", type=Path, help="Parquet with image and label")
    parser.add_argument("--train-count", type=int, default=20_000, help="fit on the first so many of TRAIN")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def read(table: Path, recipe: Recipe, count: int | None) -> list[Sample]:
    """The first so many samples of a table; all of them for None."""
    data = find(layout_of("pictures").ROLES, [str(table)], Access())
    return read_samples(data.take(np.arange(len(data))[:count]), recipe)


def spaces(
    network: Network, recipe: Recipe, train: list[Sample], test: list[Sample]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """(training, held-out) vectors ND of each space by its name."""
    size_px = network.config.size_px
    pixels = tuple(squares.stack(samples, size_px).flatten(1).numpy() for samples in (train, test))
    codes = tuple(encode(network, samples, size_px) for samples in (train, test))
    axes = PCA(codes[0].shape[1], random_state=0).fit(pixels[0])
    return {
        "code": (codes[0], codes[1]),
        "PCA": (axes.transform(pixels[0]), axes.transform(pixels[1])),
        "pixels": (pixels[0], pixels[1]),
    }


@torch.inference_mode()
def encode(network: Network, samples: list[Sample], size_px: int) -> np.ndarray:
    chunks = squares.chunks(samples, BATCH)
    return torch.cat([network.encode(squares.stack(chunk, size_px)) for chunk in chunks]).numpy()


def spread(figures: tuple[float, ...]) -> str:
    return f"{np.mean(figures):.3f} ± {np.std(figures):.3f}"


if __name__ == "__main__":
    main()
