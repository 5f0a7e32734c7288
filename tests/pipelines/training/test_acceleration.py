"""Fused optimisers take the same steps, and a checkpoint keeps what its training began with."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from pixelmill.pipelines.training.acceleration import accelerate, fused
from pixelmill.pipelines.training.checkpoints import optimizer_state, restore_optimizer

GPU, CPU = torch.device("cuda"), torch.device("cpu")
KINDS: dict[str, Callable[[list[nn.Parameter]], Optimizer]] = {
    "adam": lambda parameters: torch.optim.Adam(parameters, 0.1, weight_decay=0.01),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, 0.1),
    "sgd": lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9, weight_decay=0.01),
}


def parameters() -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [nn.Parameter(torch.rand(5, 3)), nn.Parameter(torch.rand(7))]


def descend(several: list[nn.Parameter], optimizer: Optimizer, steps: range) -> None:
    for step in steps:
        for parameter in several:
            parameter.grad = parameter.detach().sin() * (step + 1)
        optimizer.step()


@pytest.mark.parametrize("kind", KINDS)
def test_a_fused_optimizer_takes_the_same_steps(kind: str) -> None:
    """torch's fused kernels run on the CPU too, so the name of the device is enough here."""
    plain, together = parameters(), parameters()
    descend(plain, KINDS[kind](plain), range(5))
    descend(together, optimizer := fused(KINDS[kind](together), GPU), range(5))
    assert all(group["fused"] for group in optimizer.param_groups)
    for one, other in zip(plain, together, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("was_fused", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_resumes_with_the_optimizer_that_it_was_made_with(kind: str, was_fused: bool) -> None:
    whole, first = parameters(), parameters()
    begun = GPU if was_fused else CPU
    descend(whole, fused(KINDS[kind](whole), begun), range(6))
    optimizer = fused(KINDS[kind](first), begun)
    descend(first, optimizer, range(3))
    tensors, groups = optimizer_state(optimizer)
    resumed = fused(KINDS[kind](first), GPU)
    restore_optimizer(resumed, tensors, groups)
    assert {bool(group["fused"]) for group in resumed.param_groups} == {was_fused}
    descend(first, resumed, range(3, 6))
    assert all(torch.equal(one, other) for one, other in zip(whole, first, strict=True))


def test_other_optimizers_and_the_cpu_stay_as_they_are() -> None:
    assert "fused" not in fused(torch.optim.RMSprop(parameters()), GPU).param_groups[0]
    assert not fused(torch.optim.Adam(parameters()), CPU).param_groups[0]["fused"]


def test_matrix_products_are_of_less_precision_on_a_gpu_only() -> None:
    before = torch.get_float32_matmul_precision()
    try:
        accelerate(CPU)
        assert torch.get_float32_matmul_precision() == before
        accelerate(GPU)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)
