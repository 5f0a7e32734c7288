"""Batches are made of samples of one size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pixelmill.pipelines.training.batch_share import BatchShare
from pixelmill.pipelines.training.batches import Batches
from pixelmill.pipelines.training.sample_order import SampleOrder
from pixelmill.pipelines.training.samples import Memory
from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes import Batch
from pixelmill.workers.recipes.vae import VaeRecipe
from tests.pipelines.training.trainings import SETTINGS


class Uncut(VaeRecipe):
    """Pictures stay as large as they are."""

    def batch(self, samples: Any, random: np.random.Generator) -> Batch:
        return {"images": torch.stack([torch.from_numpy(sample["pixels"]) for sample in samples])}


def test_samples_of_different_sizes_in_one_batch_are_told_with_their_sizes() -> None:
    class Two(Memory):
        def __init__(self) -> None:
            self._samples = [{"pixels": np.zeros((side, 8, 1))} for side in (8, 9)]

    recipe = Uncut(VaeRecipe.Settings(**SETTINGS), {})
    with pytest.raises(DataError, match=r"images of 8x8x1 and 9x8x1 don't fit into one batch"):
        list(Batches(Two(), recipe, SampleOrder(2, 0), BatchShare(2))(range(1)))
