"""Every training step gets its samples: the same on any number of workers, from memory or streamed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training import sampling
from pixelmill.pipelines.training.layouts.registry import find, layout_of
from pixelmill.pipelines.training.sampling import Batches, BatchShare, Memory, SampleOrder, Stream
from pixelmill.workers.errors import DataError, JobError
from pixelmill.workers.recipes import Batch
from pixelmill.workers.recipes.vae import VaeRecipe
from tests.pipelines.training.trainings import SETTINGS


@pytest.mark.parametrize(("workers", "accumulate"), [(1, 1), (2, 1), (4, 1), (1, 4), (2, 2), (4, 2)])
def test_each_batch_is_the_same_whatever_the_workers_and_passes(pictures: str, workers: int, accumulate: int) -> None:
    data = find(layout_of("pictures").ROLES, [pictures], Access())
    recipe = VaeRecipe(VaeRecipe.Settings(**SETTINGS), {})
    samples, order = Memory(data, recipe), SampleOrder(len(data), 3)

    def batches(workers: int, accumulate: int) -> list[Tensor]:
        shares = [BatchShare(8, accumulate, workers, rank) for rank in range(workers)]
        streams = [list(Batches(samples, recipe, order, share)(range(7))) for share in shares]
        steps = zip(*streams, strict=True)
        return [torch.cat([one["noise"] for _, passes in step for one in passes]) for step in steps]

    for whole, divided in zip(batches(1, 1), batches(workers, accumulate), strict=True):
        assert torch.equal(whole, divided)


def test_streamed_samples_are_those_of_memory(pictures: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "WINDOW_SAMPLES", 5)
    data = find(layout_of("pictures").ROLES, [pictures], Access())
    recipe = VaeRecipe(VaeRecipe.Settings(**SETTINGS), {})
    order = SampleOrder(len(data), 1)
    for steps in (range(9), range(4, 9)):
        kept = list(Memory(data, recipe).stream(order, BatchShare(7), steps))
        streamed = list(Stream(data, recipe).stream(order, BatchShare(7), steps))
        for (indices, samples), (others, read) in zip(kept, streamed, strict=True):
            assert indices.tolist() == others.tolist()
            assert all(np.array_equal(a["pixels"], b["pixels"]) for a, b in zip(samples, read, strict=True))


def test_every_sample_comes_once_an_epoch_and_epochs_differ() -> None:
    order = SampleOrder(10, 0)
    epochs = [order.indices(start, start + 10).tolist() for start in (0, 10, 20)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert order.indices(7, 13).tolist() == [*epochs[0][7:], *epochs[1][:3]]


def test_a_batch_that_workers_cannot_share_is_refused() -> None:
    with pytest.raises(JobError, match="multiple of workers x accumulate"):
        BatchShare(9, 1, 2)


def test_samples_of_any_shape_survive_the_way_through_ray_data() -> None:
    samples = [
        {"a": np.arange(6, dtype=np.uint16).reshape(2, 3), "b": np.float32(2.5).reshape(())},
        {"a": np.zeros((0, 4))},
    ]
    again = sampling.unpack(sampling.pack(samples))
    assert [set(each) for each in again] == [{"a", "b"}, {"a"}]
    assert again[0]["a"].dtype == np.uint16
    assert again[0]["b"].shape == ()
    assert again[1]["a"].shape == (0, 4)


def test_a_file_that_is_no_picture_is_named(pictures: str) -> None:
    (Path(pictures) / "010.png").write_bytes(b"<html>")
    data = find(layout_of("pictures").ROLES, [pictures], Access())
    with pytest.raises(DataError, match=r"010\.png: "):
        list(sampling.scan(data, VaeRecipe(VaeRecipe.Settings(**SETTINGS), {})))


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
