"""Vectors in the plane of the fitted ones come back, and what sticks out of it is lost."""

from __future__ import annotations

import numpy as np

from pixelmill.workers.evaluation.principal_components import through_components


def test_what_lies_in_the_plane_of_the_fitted_vectors_is_kept_and_the_rest_is_lost() -> None:
    random = np.random.default_rng(0)
    plane_2P, outside_P = random.normal(size=(2, 5)), random.normal(size=5)
    fitted_NP = random.normal(size=(30, 2)) @ plane_2P
    inside_MP = random.normal(size=(4, 2)) @ plane_2P
    np.testing.assert_allclose(through_components(fitted_NP, inside_MP, 2), inside_MP, atol=1e-9)
    kept_MP = through_components(fitted_NP, inside_MP + outside_P, 2)
    assert np.abs(kept_MP - (inside_MP + outside_P)).max() > 0.1
    np.testing.assert_allclose(through_components(fitted_NP, kept_MP, 2), kept_MP, atol=1e-9)
