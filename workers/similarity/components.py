"""Principal components of many vectors, from sums over blocks.

Legend: N vectors, B rows of a block, D numbers in a vector, C components.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Components:
    """The axes of the greatest variance, greatest first, and the share of the whole variance along each."""

    mean_D: np.ndarray
    axes_CD: np.ndarray
    shares_C: np.ndarray

    def project(self, vectors_BD: np.ndarray) -> np.ndarray:
        """Coordinates BC, float32."""
        return ((vectors_BD - self.mean_D) @ self.axes_CD.T).astype(np.float32)


@dataclass(frozen=True)
class Moments:
    """What components need to know of some vectors: how many, their sum, and the sum of their products."""

    count: int
    sums_D: np.ndarray
    products_DD: np.ndarray


def moments_of(vectors_BD: np.ndarray) -> Moments:
    products_DD = vectors_BD.T.astype(np.float64) @ vectors_BD
    return Moments(len(vectors_BD), vectors_BD.sum(0, dtype=np.float64), products_DD)


def principal_components(batches: Iterable[np.ndarray], dimension: int, components: int) -> Components:
    """Fit to all vectors of the batches BD; see `components_of_moments`."""
    return components_of_moments(map(moments_of, batches), dimension, components)


def components_of_moments(many: Iterable[Moments], dimension: int, components: int) -> Components:
    """Fit to all vectors of which these are the moments. Each axis points to where its greatest weight is positive, so that
    maps of equal vectors are equal; vectors with fewer numbers than `components` get axes of zeros for the rest.
    """
    count, sums_D = 0, np.zeros(dimension)
    products_DD = np.zeros((dimension, dimension))
    for each in many:
        count += each.count
        sums_D += each.sums_D
        products_DD += each.products_DD
    mean_D = sums_D / max(count, 1)
    variances_D, columns_DD = np.linalg.eigh(products_DD / max(count, 1) - np.outer(mean_D, mean_D))
    axes_CD = np.zeros((components, dimension))
    shares_C = np.zeros(components)
    there = min(components, dimension)
    axes_CD[:there] = columns_DD[:, ::-1].T[:there]
    shares_C[:there] = np.maximum(variances_D[::-1][:there], 0) / max(float(np.maximum(variances_D, 0).sum()), 1e-12)
    strongest = np.take_along_axis(axes_CD, np.abs(axes_CD).argmax(1)[:, None], axis=1)
    axes_CD *= np.where(strongest < 0, -1, 1)
    return Components(mean_D.astype(np.float32), axes_CD.astype(np.float32), shares_C.astype(np.float32))
