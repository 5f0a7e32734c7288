"""Luma of any size is sharpened without a seam."""

from __future__ import annotations

import numpy as np

from pixelmill.workers.prediction.super_resolution import sharpen
from tests.workers.scenes import scene
from tests.workers.sharpeners import seeded_network


def test_tiles_leave_no_seam() -> None:
    network, luma_HW = seeded_network(0), scene(70, 53).astype(np.float64)
    np.testing.assert_allclose(sharpen(network, luma_HW, tile_px=16), sharpen(network, luma_HW), atol=1e-3)
