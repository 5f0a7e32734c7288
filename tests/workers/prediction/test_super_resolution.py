"""Pictures of any size come back larger, without a seam."""

from __future__ import annotations

import numpy as np
from torch import nn

from pixelmill.workers.prediction.super_resolution import sharpen, super_resolve
from tests.workers.scenes import scene
from tests.workers.sharpeners import layers, seeded_network


def test_tiles_leave_no_seam() -> None:
    network, luma_HW = seeded_network(0), scene(70, 53).astype(np.float64)
    np.testing.assert_allclose(sharpen(network, luma_HW, tile_px=16), sharpen(network, luma_HW), atol=1e-3)


def test_a_picture_comes_back_larger_with_its_colours() -> None:
    rgb_HWC = np.zeros((20, 30, 3), dtype=np.uint8)
    rgb_HWC[:, :15], rgb_HWC[:, 15:] = (200, 30, 30), (30, 30, 200)
    network = seeded_network(0)
    nn.init.zeros_(layers(network)[-1].weight)
    large_HWC = super_resolve(network, rgb_HWC, 3)
    assert large_HWC.shape == (60, 90, 3)
    assert large_HWC.dtype == np.uint8
    assert np.abs(large_HWC[30, 10].astype(int) - (200, 30, 30)).max() <= 1
    assert np.abs(large_HWC[30, 80].astype(int) - (30, 30, 200)).max() <= 1
