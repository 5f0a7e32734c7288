"""Score depths that look at no picture: the best constant, and the best depth of each row or cell, fitted on training LiDAR.

    PIXELMILL_DATA=DATA python -m benchmarks.depth_priors [--recipe jobs/recipes/monodepth-kitti.yaml]

The parts are those of the recipe file. A cell's depth is the one with the least relative error on the training samples: their
median, each return weighted by 1 / depth. A network that is no better than these has learned where things usually are.

Legend: N samples, H height, W width, M LiDAR returns. Depths are metres, 0 without a return.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

from benchmarks.export_zoo import split_of
from pixelmill.jobs import catalogue
from pixelmill.jobs.training.job import read_recipe_file
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.reading import read_samples
from pixelmill.workers.evaluation.depth import depth_errors, is_scored
from pixelmill.workers.recipes import Recipe
from pixelmill.workers.recipes.stereo_pairs import depth_of

CELLS = {
    "one depth for all": (1, 1),
    "a depth for each of 40 rows": (40, 1),
    "a depth for each pixel row": (10**9, 1),
    "a depth for each of 20 x 8 cells": (20, 8),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Depths that look at no picture, beside a trained network.")
    parser.add_argument("--recipe", type=Path, default=catalogue.shipped()["monodepth-kitti"])
    recipe_file: Path = parser.parse_args().recipe
    job = read_recipe_file(recipe_file.read_text(), name=recipe_file.name, overrides=[], environment=os.environ)
    parts = split_of(job)
    assert parts.test is not None
    recipe = job.recipe(job.settings, {})
    known_NHW, truth_NHW = depths(parts.train, recipe), depths(parts.test, recipe)
    print(f"fitted on {len(known_NHW)} samples, {parts.says}\n\n| prior | AbsRel | d1 |\n|---|---|---|")
    for name, (rows, columns) in CELLS.items():
        prior_HW = fitted(known_NHW, min(rows, known_NHW.shape[1]), columns)
        errors = [depth_errors(prior_HW, truth_HW) for truth_HW in truth_NHW if is_scored(truth_HW).any()]
        abs_rel, d1 = (np.mean([each[metric] for each in errors]) for metric in ("abs_rel", "d1"))
        print(f"| {name} | {abs_rel:.3f} | {d1:.3f} |")


def depths(data: DataSet, recipe: Recipe) -> np.ndarray:
    return np.stack([depth_of(sample) for sample in read_samples(data, recipe)])


def fitted(known_NHW: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """HW: in each cell its best depth; that of its row where a cell has no returns, that of all where its row has none."""
    _, height, width = known_NHW.shape
    prior_HW = np.full((height, width), best_constant(known_NHW, 0.0), np.float32)
    for top, bottom in edges(height, rows):
        of_row = best_constant(known_NHW[:, top:bottom], float(prior_HW[top, 0]))
        for left, right in edges(width, columns):
            prior_HW[top:bottom, left:right] = best_constant(known_NHW[:, top:bottom, left:right], of_row)
    return prior_HW


def edges(length: int, parts: int) -> list[tuple[int, int]]:
    ends = np.linspace(0, length, parts + 1).round().astype(int)
    return list(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True))


def best_constant(depths_m: np.ndarray, otherwise_m: float) -> float:
    """The depth of the least mean relative error on these returns."""
    returns_M = np.sort(depths_m[(depths_m > 0) & (depths_m < 80)])
    if not len(returns_M):
        return otherwise_m
    weights_M = np.cumsum(1 / returns_M.astype(np.float64))
    return float(returns_M[np.searchsorted(weights_M, weights_M[-1] / 2)])


if __name__ == "__main__":
    main()
