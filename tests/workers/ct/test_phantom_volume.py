"""Phantoms look like bodies in Hounsfield units, and no two are the same."""

from __future__ import annotations

import numpy as np

from pixelmill.workers.ct.hounsfield import HuHistogram, misscaled
from pixelmill.workers.ct.phantom_volume import phantom_volume


def test_air_lungs_tissue_and_bone_have_their_values() -> None:
    phantom = phantom_volume(12, 64, 3, has_lesions=True)
    seen = HuHistogram()
    seen.add(np.rint(phantom.hu_DHW).astype(np.int16))
    assert misscaled(seen) is None
    assert np.median(phantom.hu_DHW[:, :3, :3]) < -950
    assert abs(np.median(phantom.hu_DHW[phantom.lungs_DHW & ~phantom.lesions_DHW]) + 850) < 10
    assert abs(np.median(phantom.hu_DHW[phantom.lesions_DHW]) - 70) < 10
    assert 0.05 < phantom.lungs_DHW.mean() < 0.4
    assert (phantom.hu_DHW > 500).any()


def test_a_seed_makes_the_same_body_and_another_seed_another() -> None:
    first, again, other = (phantom_volume(6, 32, seed).hu_DHW for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
    assert not phantom_volume(6, 32, 1).lesions_DHW.any()
