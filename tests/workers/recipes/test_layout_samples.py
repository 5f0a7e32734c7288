"""A photograph and its layout are resized, cropped and mirrored together, independent of their batch."""

from __future__ import annotations

import numpy as np
import torch

from pixelmill.workers.drawn_classes import FACADES
from pixelmill.workers.recipes.layout_samples import augment, channels_first, resized, stacked
from tests.workers.facades import random_ids

COLOURS_K3 = np.array(list(FACADES.values()), np.uint8)


def test_resizing_moves_neither_photo_nor_layout_to_a_side() -> None:
    ids_HW = random_ids(1, 24, 24)[0].numpy()
    mirrored = resized({"photo": COLOURS_K3[ids_HW][:, ::-1], "layout": ids_HW[:, ::-1]}, (32, 32))
    straight = resized({"photo": COLOURS_K3[ids_HW], "layout": ids_HW}, (32, 32))
    assert np.array_equal(mirrored["layout"], straight["layout"][:, ::-1])
    assert np.abs(mirrored["photo"].astype(int) - straight["photo"][:, ::-1]).max() <= 1


def test_photo_and_layout_stay_on_each_other() -> None:
    ids_HW = np.repeat(np.repeat(random_ids(1, 4, 4)[0].numpy(), 8, 0), 8, 1)
    sample = {"photo": COLOURS_K3[ids_HW], "layout": ids_HW}
    random = np.random.default_rng(0)
    for _ in range(10):
        made = augment(sample, random, flip=True, smallest_crop=0.5)
        assert made["layout"].shape == ids_HW.shape
        assert (COLOURS_K3[made["layout"]] == made["photo"]).all(2).mean() > 0.6


def test_four_numbers_are_drawn_whatever_the_settings() -> None:
    sample = {"photo": np.zeros((4, 4, 3), np.uint8), "layout": np.zeros((4, 4), np.uint8)}
    for flip, smallest_crop in ((True, 1.0), (False, 0.5)):
        random, expected = np.random.default_rng(3), np.random.default_rng(3)
        augment(sample, random, flip=flip, smallest_crop=smallest_crop)
        expected.random(4)
        assert random.random() == expected.random()


def test_a_batch_has_photos_channels_first_and_layouts_as_they_are() -> None:
    ids_BHW = random_ids(2).numpy()
    batch = stacked([{"photo": COLOURS_K3[ids_HW], "layout": ids_HW} for ids_HW in ids_BHW])
    assert torch.equal(batch["layouts"], torch.from_numpy(ids_BHW))
    assert torch.equal(batch["photos"], channels_first(list(COLOURS_K3[ids_BHW])))
    assert batch["photos"].shape == (2, 3, 8, 16)
