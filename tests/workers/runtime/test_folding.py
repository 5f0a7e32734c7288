"""BatchNorm is folded where that changes nothing but rounding, and left where it would."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pixelmill.workers.runtime import folding
from pixelmill.workers.runtime.execution import Executor
from pixelmill.workers.runtime.settings import Settings
from tests.small_networks import network, pictures


def test_folding_batchnorm_changes_nothing_but_rounding() -> None:
    plain = Executor(network(), Settings(fold_batchnorm=False))(pictures())
    folded = Executor(network(), Settings(fold_batchnorm=True))(pictures())
    assert torch.allclose(plain, folded, atol=1e-4)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folding.folded(network().module).modules())


class Folding(nn.Module):
    """Two convolutions and two BatchNorms, put together in the ways that folding can get wrong."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1, bias=False)
        self.a, self.b = nn.BatchNorm2d(3), nn.BatchNorm2d(3, affine=kind != "no affine")
        for norm in (self.a, self.b):
            norm.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
            norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]

    def forward(self, images_BCHW: Tensor) -> Tensor:
        convolved_BCHW = self.first(images_BCHW)
        normal_BCHW = self.a(convolved_BCHW)
        if self.kind == "shared convolution":
            return self.b(self.first(normal_BCHW)).flatten(1)
        if self.kind == "shared norm":
            return self.a(self.second(normal_BCHW)).flatten(1)
        if self.kind == "branch":
            return (normal_BCHW + convolved_BCHW).flatten(1)
        if self.kind == "not traceable" and bool(normal_BCHW.sum() > 0):
            return normal_BCHW.flatten(1)
        return self.b(self.second(normal_BCHW)).flatten(1)


@pytest.mark.parametrize("kind", ["chain", "shared convolution", "shared norm", "branch", "not traceable", "no affine"])
def test_folding_is_right_or_left_undone_however_a_network_is_put_together(kind: str) -> None:
    torch.manual_seed(0)
    module = Folding(kind)
    plain = Executor(network(module), Settings(fold_batchnorm=False))(pictures())
    folded = Executor(network(module), Settings(fold_batchnorm=True))(pictures())
    assert torch.allclose(plain, folded, atol=1e-4)
    is_left = any(isinstance(m, nn.BatchNorm2d) for m in folding.folded(module.eval()).modules())
    assert is_left == (kind in {"shared convolution", "branch", "not traceable"})
