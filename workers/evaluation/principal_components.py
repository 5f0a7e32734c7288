"""Reconstruct vectors from their principal components: the baseline for codes of equal size.

Legend: N fitted vectors, M evaluated vectors, P dimension of a vector.
"""

from __future__ import annotations

from typing import cast

import numpy as np


def through_components(fitted_NP: np.ndarray, judged_MP: np.ndarray, components: int) -> np.ndarray:
    """The evaluated vectors, MP, reconstructed from so many axes of the fitted ones."""
    from sklearn.decomposition import PCA  # pyright: ignore[reportMissingTypeStubs]

    axes = PCA(components, random_state=0).fit(fitted_NP)  # pyright: ignore[reportUnknownMemberType]
    codes = cast("np.ndarray", axes.transform(judged_MP))  # pyright: ignore[reportUnknownMemberType]
    return cast("np.ndarray", axes.inverse_transform(codes))  # pyright: ignore[reportUnknownMemberType]
