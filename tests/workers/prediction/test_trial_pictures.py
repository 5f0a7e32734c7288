"""Settings are tried on pictures of one size, which show something."""

from __future__ import annotations

import pytest
import torch

from pixelmill.workers.models.picture_model import SizeFacts
from pixelmill.workers.prediction.trial_pictures import SAMPLES, probe_size, samples


@pytest.mark.parametrize(
    ("facts", "size"),
    [
        (SizeFacts(), (256, 256)),
        (SizeFacts(scale=4), (64, 64)),
        (SizeFacts(multiple_px=96, scale=2), (192, 192)),
        (SizeFacts(least_px=300), (300, 300)),
        (SizeFacts(resize_px=(192, 640)), (192, 640)),
        (SizeFacts(resize_px=518, multiple_px=14), (518, 518)),
    ],
)
def test_the_size_is_the_networks_own_or_a_common_one(facts: SizeFacts, size: tuple[int, int]) -> None:
    assert probe_size(facts) == size


def test_the_middle_of_large_pictures_is_taken_and_noise_stands_for_small_ones() -> None:
    large_CHW = torch.zeros(3, 500, 200, dtype=torch.uint8)
    large_CHW[:, 218:282] = 9
    images_BCHW = samples([torch.zeros(3, 1, 1, dtype=torch.uint8), large_CHW], (64, 64), are_ids=False)
    assert images_BCHW.shape == (SAMPLES, 3, 64, 64)
    assert (images_BCHW[0] == 9).all()
    assert all(image_CHW.float().std() > 20 for image_CHW in images_BCHW[1:])


def test_ids_are_those_of_the_pictures_however_small() -> None:
    ids_1HW = torch.tensor([[[3, 5]]], dtype=torch.uint8)
    images_BCHW = samples([ids_1HW], (32, 32), are_ids=True)
    assert images_BCHW.shape == (SAMPLES, 1, 32, 32)
    assert set(images_BCHW.unique().tolist()) <= {3, 5}
