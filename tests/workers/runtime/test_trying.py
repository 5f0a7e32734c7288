"""A candidate is taken when it runs and agrees, and left out without an error when the device has no kernel for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from pixelmill.workers.runtime import trying
from pixelmill.workers.runtime.agreement import Cosine
from pixelmill.workers.runtime.execution import Executor
from pixelmill.workers.runtime.settings import Settings
from pixelmill.workers.runtime.trying import rate, try_settings
from tests.small_networks import network, pictures

EAGER = Settings(channels_last=False, fold_batchnorm=False)


class Batches(list[int]):
    """The same one in each copy of a network."""

    def __deepcopy__(self, memo: object) -> Batches:
        return self


class Counted(nn.Module):
    """Counts its batches."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error
        self.batches = Batches()

    def forward(self, images_BCHW: Tensor) -> Tensor:
        self.batches.append(len(images_BCHW))
        if self.error is not None:
            raise self.error
        return images_BCHW.flatten(1)[:, :8].clone()


def truth_of(module: nn.Module) -> Tensor:
    made = Executor(network(module), EAGER)(pictures())
    assert isinstance(made, Tensor)
    return made


def test_a_candidate_that_agrees_has_its_rate_and_its_figure() -> None:
    (trial,) = try_settings(network(Counted()), pictures(), EAGER, truth_of(Counted()), Cosine(0.999))
    assert (trial.settings, trial.figure) == (EAGER, pytest.approx(1))
    assert trial.images_per_s > 0


def test_a_candidate_that_strays_is_left_out() -> None:
    assert try_settings(network(Counted()), pictures(), EAGER, -truth_of(Counted()), Cosine(0.999)) == []


@pytest.mark.parametrize("error", [RuntimeError("no kernel"), NotImplementedError("no kernel")])
def test_a_candidate_that_does_not_run_is_left_out_and_a_defect_is_raised(error: Exception) -> None:
    truth = truth_of(Counted())
    assert try_settings(network(Counted(error)), pictures(), EAGER, truth, Cosine(0.999)) == []
    with pytest.raises(KeyError):
        try_settings(network(Counted(KeyError("a defect"))), pictures(), EAGER, truth, Cosine(0.999))


def test_a_microbatch_is_filled_with_the_samples_that_there_are() -> None:
    counted, samples = Counted(), pictures()
    size = 2 * len(samples) + 1
    assert try_settings(network(counted), samples, replace(EAGER, microbatch=size), truth_of(Counted()), Cosine(0.999))
    assert set(counted.batches) == {size}


def test_a_slow_pass_is_measured_once_and_a_quick_one_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, passes = truth_of(Counted()), []
    for seconds in (1e9, 0.0):
        counted = Counted()
        monkeypatch.setattr(trying, "PROBE_SECONDS", seconds)
        try_settings(network(counted), pictures(), EAGER, truth, Cosine(0.999))
        passes.append(len(counted.batches))
    assert passes == [3, 2]


def test_a_rate_is_pictures_by_the_time_of_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 10.5])
    monkeypatch.setattr(trying.time, "perf_counter", lambda: next(clock))
    assert rate(lambda images: images, torch.zeros(6, 3, 2, 2)) == 12  # type: ignore[arg-type]
