"""A map of a run's vectors: two coordinates a row, by principal components or UMAP."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np

from pixelmill.pipelines.findings.row_vectors import KeyedVectors, RowVectors
from pixelmill.pipelines.findings.stored import Made, keyed
from pixelmill.pipelines.findings.vector_set import VectorSet
from pixelmill.workers.errors import JobError
from pixelmill.workers.similarity.components import components_of_moments, moments_of

Method = Literal["pca", "umap"]
FIRST_COMPONENTS = 50
"""UMAP gets so many components, not the vectors themselves, as its authors advise for speed."""
FEWEST_ROWS = 5
"""Fewer have no neighbourhoods that UMAP could keep, and get their principal components."""


def projected(rows: RowVectors | KeyedVectors, method: Method = "pca", seed: int = 0) -> Made:
    """Columns x and y, float32. Raises JobError for UMAP where it is not installed."""
    if method == "umap":
        require_umap()
    wanted = 2 if method == "pca" else max(2, min(FIRST_COMPONENTS, rows.vectors.dimension))
    points_NC, shares_C = components_of(rows.vectors, wanted)
    if method == "umap":
        points_NC = _umap(points_NC, seed)
    summary: dict[str, object] = {"rows": len(points_NC), "method": method}
    if method == "pca":
        summary["share_of_variance"] = [round(float(share), 4) for share in shares_C]
    return Made(keyed(rows.keys, {"x": points_NC[:, 0], "y": points_NC[:, 1]}), summary)


def components_of(vectors: VectorSet, components: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates NC along the axes of the greatest variance, and the share of the variance along each."""
    fitted = components_of_moments(vectors.map(moments_of), vectors.dimension, components)
    return np.concatenate(list(vectors.map(fitted.project))), fitted.shares_C


def require_umap() -> None:
    if find_spec("umap") is None:
        raise JobError(
            "--method umap: needs a package that is not installed here; pip install 'pixelmill[explore]', or take pca"
        )


def _umap(points_NC: np.ndarray, seed: int) -> np.ndarray:
    if len(points_NC) < FEWEST_ROWS:
        return points_NC[:, :2]
    module: Any = import_module("umap")
    few = min(15, len(points_NC) - 1)
    reducer = module.UMAP(n_neighbors=few, random_state=seed, n_jobs=1)  # one thread is what a seed allows
    return np.asarray(reducer.fit_transform(points_NC), np.float32)
