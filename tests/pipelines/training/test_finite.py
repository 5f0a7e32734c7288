"""Losses that are not numbers are found before anything is logged, evaluated or saved, without a wait in each step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from pixelmill.pipelines.training.finite import LOOKED_AT, FiniteLosses, require_finite_weights
from pixelmill.workers.errors import TrainingFailed

GPU = torch.device("cuda")  # only its name is used: the losses of these tests lie in memory
NAN = float("nan")


def losses(value: float) -> dict[str, Tensor]:
    return {"loss": torch.tensor(value), "kl": torch.tensor(1.0)}


def test_on_the_cpu_a_loss_is_examined_before_its_backward_pass() -> None:
    found = FiniteLosses(torch.device("cpu"))
    found.add(3, losses(1.0), lambda: ["a"])
    with pytest.raises(TrainingFailed, match=r"step 4: the loss is not a number \(loss nan, kl 1\); its batch is b;"):
        found.add(4, losses(NAN), lambda: ["b"])


def test_on_a_gpu_losses_are_examined_together_and_the_first_bad_one_is_named() -> None:
    found = FiniteLosses(GPU)
    for step, value in enumerate([1.0, float("inf"), NAN]):
        found.add(step, losses(value), lambda step=step: [f"sample {step}"])
    with pytest.raises(TrainingFailed, match=r"step 1: .*\(loss inf, kl 1\); its batch is sample 1;"):
        found.require()


def test_on_a_gpu_nobody_looks_for_many_steps_but_not_for_ever() -> None:
    found = FiniteLosses(GPU)
    for step in range(LOOKED_AT - 1):
        found.add(step, losses(NAN), lambda: ["a"])
    with pytest.raises(TrainingFailed, match="step 0"):
        found.add(LOOKED_AT - 1, losses(NAN), lambda: ["a"])


def test_numbers_that_were_examined_are_forgotten() -> None:
    found = FiniteLosses(GPU)
    found.add(0, losses(1.0), lambda: ["a"])
    found.require()
    found.add(1, losses(NAN), lambda: ["b"])
    with pytest.raises(TrainingFailed, match="step 1"):
        found.require()


class Hangs(Exception):
    """In place of a wait without end."""


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The flags of the other workers, which an exchange takes the smallest of."""
    flags: list[float] = []

    def all_reduce(mine_N: Tensor, _: Any) -> None:
        mine_N.copy_(torch.minimum(mine_N, torch.tensor(flags)))

    def barrier() -> None:
        raise Hangs

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    monkeypatch.setattr(torch.distributed, "barrier", barrier)
    return flags


@pytest.mark.parametrize(
    ("mine", "of_others", "expected"),
    [
        ([1.0, 1.0], [1.0, 1.0], None),
        ([1.0, NAN], [1.0, 1.0], TrainingFailed),
        ([1.0, NAN], [1.0, 0.0], TrainingFailed),
        ([1.0, 1.0], [1.0, 0.0], Hangs),
        ([1.0, NAN], [0.0, 0.0], Hangs),  # mine follows from the other's, whose samples the message names
    ],
)
def test_of_several_workers_the_one_with_the_first_bad_loss_fails_and_the_others_publish_nothing(
    mine: list[float], of_others: list[float], expected: type[Exception] | None, others: list[float]
) -> None:
    others += of_others
    found = FiniteLosses(GPU, several=True)
    for step, value in enumerate(mine):
        found.add(step, losses(value), lambda: ["a"])
    if expected is None:
        found.require()
    else:
        with pytest.raises(expected):
            found.require()


@pytest.mark.parametrize("value", [NAN, float("inf")])
def test_weights_that_are_not_numbers_are_found(value: float) -> None:
    network = torch.nn.Linear(3, 2)
    require_finite_weights(network, 7)
    with torch.no_grad():
        network.weight[1, 2] = value
    with pytest.raises(TrainingFailed, match="step 7: the weights are not numbers"):
        require_finite_weights(network, 7)
