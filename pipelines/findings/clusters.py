"""Clusters of a run's vectors: k-means over blocks, with k by the silhouette of a sample."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.findings.row_vectors import KeyedVectors, RowVectors
from pixelmill.pipelines.findings.stored import Made, keyed
from pixelmill.workers.errors import JobError
from pixelmill.workers.similarity.kmeans import SAMPLE_ROWS, Choice, assign, choose_clusters, cluster_sums, fit, moved

EXEMPLARS = 3
SHOWN_CLUSTERS = 50


@dataclass(frozen=True)
class ClusterOptions:
    """`clusters` None: chosen by the silhouette."""

    clusters: int | None = None
    seed: int = 0


def clusters_of(rows: RowVectors | KeyedVectors, options: ClusterOptions) -> Made:
    """Columns cluster (int32, 0 the largest) and distance (float32, to the centre). JobError for more clusters than rows."""
    vectors = rows.vectors
    if options.clusters is not None and not 1 <= options.clusters <= len(vectors):
        raise JobError(f"--k {options.clusters}: there are {len(vectors):,} rows; give 1 to {len(vectors)}, or auto")
    sample = np.sort(np.random.default_rng(options.seed).permutation(len(vectors))[:SAMPLE_ROWS])
    sample_SD = vectors.take(sample)
    choice = choose_clusters(sample_SD, seed=options.seed) if options.clusters is None else Choice(options.clusters, 0)
    centres_KD = fit(sample_SD, choice.clusters, options.seed)
    if len(vectors) > SAMPLE_ROWS:
        centres_KD = moved(centres_KD, vectors.map(partial(cluster_sums, centres_KD=centres_KD)))
    found = list(vectors.map(partial(assign, centres_KD=centres_KD)))
    labels_N, distances_N = (np.concatenate([each[part] for each in found]) for part in (0, 1))
    labels_N = _largest_first(labels_N)
    summary = _summary(rows.keys, labels_N, distances_N) | {"silhouette": round(choice.silhouette, 4) or None}
    return Made(keyed(rows.keys, {"cluster": labels_N, "distance": np.sqrt(distances_N)}), summary)


def _largest_first(labels_N: np.ndarray) -> np.ndarray:
    """Labels from 0 on, the largest cluster first; clusters without rows vanish."""
    names, labels_N, counts = np.unique(labels_N, return_inverse=True, return_counts=True)
    place_of = np.empty(len(names), np.int32)
    place_of[np.argsort(-counts, kind="stable")] = np.arange(len(names), dtype=np.int32)
    return place_of[labels_N]


def _summary(keys: pa.Table, labels_N: np.ndarray, distances_N: np.ndarray) -> dict[str, object]:
    uris = keys["uri"]
    counts = np.bincount(labels_N)
    shown: list[dict[str, object]] = []
    for label in range(min(len(counts), SHOWN_CLUSTERS)):
        members = np.flatnonzero(labels_N == label)
        nearest = members[np.argsort(distances_N[members], kind="stable")[:EXEMPLARS]]
        shown.append({"cluster": label, "rows": int(counts[label]), "examples": strings_of(uris.take(nearest))})
    return {"rows": len(labels_N), "clusters": len(counts), "largest": shown}
