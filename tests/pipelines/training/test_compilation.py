"""A network is compiled where that is faster, and nothing of it changes while that is measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from pixelmill.pipelines.training import compilation
from pixelmill.pipelines.training import step as step_module
from pixelmill.pipelines.training.compilation import Compiler, compiled_where_faster
from tests.pipelines.training.trainings import plan_of, train

clock_s = [0.0]
"""A time that only networks let pass, in a list of one: what is measured does not depend on the machine."""


@pytest.fixture(autouse=True)
def passing_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "time", SimpleNamespace(perf_counter=lambda: clock_s[0]))


class Takes(nn.Module):
    """A network that takes so long for a batch."""

    def __init__(self, network: nn.Module, seconds: float) -> None:
        super().__init__()
        self.network, self.seconds = network, seconds

    def forward(self, values: Tensor) -> Tensor:
        clock_s[0] += self.seconds
        return self.network(values)


def network() -> nn.Module:
    torch.manual_seed(0)
    return Takes(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), 0.004)


def loss(of: nn.Module) -> Tensor:
    return of(torch.ones(4, 3)).square().mean()


def taking(seconds: float) -> Compiler:
    return lambda plain: Takes(plain.network, seconds)  # type: ignore[arg-type]


def refused(plain: nn.Module) -> nn.Module:
    raise RuntimeError("no compiler")


@pytest.mark.parametrize(("compiler", "expected"), [(taking(0.0), True), (taking(0.008), False), (refused, False)])
def test_a_network_is_compiled_where_that_is_faster(compiler: Compiler, expected: bool) -> None:
    plain = network()
    chosen, is_compiled = compiled_where_faster(plain, loss, compiler=compiler)
    assert is_compiled is expected
    assert (chosen is plain) is not expected


def test_measuring_changes_neither_weights_nor_statistics_nor_gradients() -> None:
    plain, expected = network(), network().state_dict()
    compiled_where_faster(plain, loss, compiler=taking(0.0))
    assert all(torch.equal(tensor, expected[name]) for name, tensor in plain.state_dict().items())
    assert all(parameter.grad is None for parameter in plain.parameters())


@pytest.mark.parametrize("choice", [True, False])
def test_an_earlier_choice_is_kept_without_measuring(choice: bool) -> None:
    def never(of: nn.Module) -> Tensor:
        raise AssertionError("measured")

    assert compiled_where_faster(network(), never, choice, taking(0.0))[1] is choice


def test_a_training_that_resumes_keeps_its_choice(
    pictures: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool | None] = []

    def choose(network: nn.Module, loss: object, choice: bool | None) -> tuple[nn.Module, bool]:
        seen.append(choice)
        return network, True if choice is None else choice

    monkeypatch.setattr(step_module, "compiled_where_faster", choose)
    plan = replace(plan_of(pictures, tmp_path / "out"), compile_where_faster=True)
    with pytest.raises(KeyboardInterrupt):
        train(plan, killed_at=3)
    train(plan)
    assert seen == [None, True]
