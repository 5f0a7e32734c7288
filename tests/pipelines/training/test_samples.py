"""Samples are the same from memory and streamed."""

from __future__ import annotations

import numpy as np
import pytest

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training import samples as sample_source
from pixelmill.pipelines.training.batch_share import BatchShare
from pixelmill.pipelines.training.layouts.registry import find, layout_of
from pixelmill.pipelines.training.sample_order import SampleOrder
from pixelmill.pipelines.training.samples import Memory, Stream
from pixelmill.workers.recipes.vae import VaeRecipe
from tests.pipelines.training.trainings import SETTINGS


def test_streamed_samples_are_those_of_memory(pictures: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_source, "WINDOW_SAMPLES", 5)
    data = find(layout_of("pictures").ROLES, [pictures], Access())
    recipe = VaeRecipe(VaeRecipe.Settings(**SETTINGS), {})
    order = SampleOrder(len(data), 1)
    for steps in (range(9), range(4, 9)):
        kept = list(Memory(data, recipe).stream(order, BatchShare(7), steps))
        streamed = list(Stream(data, recipe).stream(order, BatchShare(7), steps))
        for (indices, samples), (others, read) in zip(kept, streamed, strict=True):
            assert indices.tolist() == others.tolist()
            assert all(np.array_equal(a["pixels"], b["pixels"]) for a, b in zip(samples, read, strict=True))
