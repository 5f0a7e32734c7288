"""Score masks that look at no picture: the commonest class of all, and the commonest of each row and of each pixel.

    PIXELMILL_DATA=DATA python -m benchmarks.mask_priors [--recipe jobs/recipes/unet-camvid.yaml]

The parts are those of the recipe file: counted on training labels, judged on the test part. A network that is no better than
these has learned where things usually are.

Legend: N samples, H height, W width, K classes.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import torch

from benchmarks.export_zoo import split_of
from pixelmill.jobs import catalogue
from pixelmill.jobs.training.job import read_recipe_file
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.reading import read_samples
from pixelmill.workers.evaluation.confusion import confusion_scores
from pixelmill.workers.recipes import Recipe
from pixelmill.workers.recipes.segmentation.labels import VOID, class_names_of


def main() -> None:
    parser = argparse.ArgumentParser(description="Masks that look at no picture, beside a trained network.")
    parser.add_argument("--recipe", type=Path, default=catalogue.shipped()["unet-camvid"])
    recipe_file: Path = parser.parse_args().recipe
    job = read_recipe_file(recipe_file.read_text(), name=recipe_file.name, overrides=[], environment=os.environ)
    parts = split_of(job)
    assert parts.test is not None
    recipe = job.recipe(job.settings, {})
    names, known_NHW = labels_of(parts.train, recipe)
    _, truth_NHW = labels_of(parts.test, recipe)
    counts_KHW = np.stack([(known_NHW == k).sum(0) for k in range(len(names))])
    priors = {
        "one class for all": np.broadcast_to(counts_KHW.sum((1, 2)).argmax(), known_NHW.shape[1:]),
        "a class for each pixel row": np.broadcast_to(counts_KHW.sum(2).argmax(0)[:, None], known_NHW.shape[1:]),
        "a class for each pixel": counts_KHW.argmax(0),
    }
    print(f"counted on {len(known_NHW)} samples, {parts.says}\n\n| prior | mIoU | pixel accuracy |\n|---|---|---|")
    for name, prior_HW in priors.items():
        scores = confusion_scores(torch.from_numpy(confusion(truth_NHW, prior_HW, len(names))), names)
        print(f"| {name} | {scores['miou']:.3f} | {scores['pixel_accuracy']:.3f} |")


def labels_of(data: DataSet, recipe: Recipe) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the classes, and labels NHW, which have one size."""
    samples = read_samples(data, recipe)
    return class_names_of(samples[0]), np.stack([sample["label"] for sample in samples])


def confusion(truth_NHW: np.ndarray, prior_HW: np.ndarray, classes: int) -> np.ndarray:
    """KK: true class down, predicted class across, over all pixels that are not void."""
    said_NHW = np.broadcast_to(prior_HW, truth_NHW.shape)
    counted_NHW = truth_NHW != VOID
    pairs = truth_NHW[counted_NHW].astype(np.int64) * classes + said_NHW[counted_NHW]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


if __name__ == "__main__":
    main()
