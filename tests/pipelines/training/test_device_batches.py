"""Batches reach the device before their step, augmented there where the recipe can."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor

from pixelmill.pipelines.training.batches import bytes_of
from pixelmill.pipelines.training.device_batches import OnDevice, Pinned, SideStream, maker_of
from pixelmill.workers.recipes import AugmentsOnDevice, Recipe, Sample
from tests.elsewhere import HERE, elsewhere
from tests.workers import labelled, pairs

CASES: list[tuple[Recipe, list[Sample]]] = [
    (labelled.recipe("segnet", crop_px=(24, 32), scales=(0.7, 1.4), brightness=0.3), labelled.samples(3)),
    (labelled.recipe("unet", crop_px=(24, 32)), labelled.samples(3)),
    (pairs.recipe(), [pairs.sample_of(pairs.DISPARITY)] * 3),
]


def test_batches_for_a_gpu_are_pinned_before_their_step(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, indices = {"images": torch.zeros(2), "labels": torch.ones(2)}, np.arange(2)
    assert Pinned(torch.device("cpu"))((indices, [batch]))[1] == [batch]
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: tensor + 5)
    same, passes = Pinned(torch.device("cuda"))((indices, [batch, batch]))
    assert same is indices
    assert [{name: tensor.tolist() for name, tensor in each.items()} for each in passes] == [
        {"images": [5.0, 5.0], "labels": [6.0, 6.0]}
    ] * 2


@pytest.mark.parametrize(("recipe", "samples"), CASES)
def test_a_device_augments_what_was_drawn_to_the_batch_of_the_cpu(recipe: Recipe, samples: list[Sample]) -> None:
    expected = recipe.batch(samples, np.random.default_rng(1))
    with elsewhere() as device:
        drawn = maker_of(recipe, device)(samples, np.random.default_rng(1))
        _, (there,) = OnDevice(recipe, device)((np.arange(3), [drawn]))
        assert {tensor.device for tensor in there.values()} == {device}
        here = {name: tensor.to(HERE) for name, tensor in there.items()}
    assert here.keys() == expected.keys()
    assert all(torch.equal(here[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize(("recipe", "samples"), CASES)
def test_what_is_sent_to_a_device_is_less_than_a_third_of_the_batch(recipe: Recipe, samples: list[Sample]) -> None:
    assert isinstance(recipe, AugmentsOnDevice)
    drawn, batch = (make(samples, np.random.default_rng(1)) for make in (recipe.drawn, recipe.batch))
    assert bytes_of((np.arange(3), [drawn])) < bytes_of((np.arange(3), [batch])) / 3


def test_the_cpu_gets_whole_batches_as_they_are() -> None:
    recipe, samples = CASES[0]
    made = (np.arange(3), [maker_of(recipe, HERE)(samples, np.random.default_rng(1))])
    assert made[1][0].keys() == {"images", "labels"}
    assert OnDevice(recipe, HERE)(made) is made


class Recorded(SideStream):
    """Says what happened, in place of a GPU."""

    def __init__(self) -> None:
        self.events: list[str] = []

    @contextmanager
    def used(self) -> Generator[None]:
        self.events.append("begins")
        yield
        self.events.append("ends")

    def hand_over(self, tensors: Iterable[Tensor]) -> None:
        self.events.append(f"{len(list(tensors))} tensors handed over")


def test_copies_are_made_beside_the_steps_and_then_handed_over() -> None:
    side, (recipe, samples) = Recorded(), CASES[0]
    with elsewhere() as device:
        drawn = maker_of(recipe, device)(samples, np.random.default_rng(1))
        OnDevice(recipe, device, side)((np.arange(3), [drawn, drawn]))
    assert side.events == ["begins", "ends", "4 tensors handed over"]
