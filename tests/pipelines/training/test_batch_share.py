"""A batch is the same however many workers share it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.batch_share import BatchShare
from pixelmill.pipelines.training.batches import Batches
from pixelmill.pipelines.training.layouts.registry import find, layout_of
from pixelmill.pipelines.training.sample_order import SampleOrder
from pixelmill.pipelines.training.samples import open_samples
from pixelmill.workers.errors import JobError
from pixelmill.workers.recipes.vae import VaeRecipe
from tests.pipelines.training.trainings import SETTINGS


@pytest.mark.parametrize(("workers", "accumulate"), [(1, 1), (2, 1), (4, 1), (1, 4), (2, 2), (4, 2)])
def test_each_batch_is_the_same_whatever_the_workers_and_passes(pictures: str, workers: int, accumulate: int) -> None:
    data = find(layout_of("pictures").ROLES, [pictures], Access())
    recipe = VaeRecipe(VaeRecipe.Settings(**SETTINGS), {})
    samples, order = open_samples(data, recipe, 1 << 20), SampleOrder(len(data), 3)

    def batches(workers: int, accumulate: int) -> list[Tensor]:
        shares = [BatchShare(8, accumulate, workers, rank) for rank in range(workers)]
        streams = [list(Batches(samples, recipe, order, share)(range(7))) for share in shares]
        steps = zip(*streams, strict=True)
        return [torch.cat([one["noise"] for _, passes in step for one in passes]) for step in steps]

    for whole, divided in zip(batches(1, 1), batches(workers, accumulate), strict=True):
        assert torch.equal(whole, divided)


def test_a_batch_that_workers_cannot_share_is_refused() -> None:
    with pytest.raises(JobError, match="multiple of workers x accumulate"):
        BatchShare(9, 1, 2)
