"""Batch normalisation over the batches of all workers, so that the number of workers does not change a training.

On GPUs this is torch's SyncBatchNorm, which refuses tensors on the CPU. There the same is computed here: means and squared
deviations are averaged over the workers, and so are their gradients. Each worker is assumed to have equally many pixels.

Legend: B batch, C channels.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn


class _Workers:
    """A group of its own, so that its exchanges do not mix with those of gradients; a copy of a network shares it."""

    def __init__(self) -> None:
        self.group = cast("dist.ProcessGroup", dist.new_group(backend="gloo"))
        self.count = dist.get_world_size()

    def __deepcopy__(self, memo: dict[int, Any]) -> _Workers:
        return self

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the workers, through which gradients flow back to all of them."""
        summed = cast("Tensor", _Sum.apply(values, self.group))  # pyright: ignore[reportUnknownMemberType]
        return summed / self.count


class _Sum(torch.autograd.Function):
    """The sum over workers; the gradient of a sum is the sum of gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        summed = values.clone()
        dist.all_reduce(summed, group=group)
        return summed

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        summed = grad_outputs[0].clone()
        dist.all_reduce(summed, group=ctx.group)
        return summed, None


class SynchronizedNorm(nn.BatchNorm2d):
    """BatchNorm2d with the statistics of all workers while it trains."""

    def __init__(self, norm: nn.BatchNorm2d, workers: _Workers) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)  # pyright: ignore[reportUnknownMemberType]
        self._workers, self.training, self.is_alone = workers, norm.training, False
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # the name that torch gives it
        """The same shape and type; statistics are computed in float32."""
        if self.is_alone or not self.training:
            return super().forward(input)
        maps_BCHW, axes = input.float(), (0, 2, 3)
        mean_C = self._workers.mean(maps_BCHW.mean(axes))
        centred_BCHW = maps_BCHW - mean_C[:, None, None]
        variance_C = self._workers.mean(centred_BCHW.square().mean(axes))
        if self.track_running_stats:
            self._follow(mean_C.detach(), variance_C.detach(), maps_BCHW.numel() // len(mean_C) * self._workers.count)
        normed_BCHW = centred_BCHW * (variance_C + self.eps).rsqrt()[:, None, None]
        if self.affine:
            normed_BCHW = normed_BCHW * self.weight[:, None, None] + self.bias[:, None, None]
        return normed_BCHW.to(input.dtype)

    def _follow(self, mean_C: Tensor, variance_C: Tensor, pixels: int) -> None:
        """Move the running statistics towards these, as BatchNorm2d does."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        with torch.no_grad():
            self.running_mean.lerp_(mean_C, share)
            self.running_var.lerp_(variance_C * (pixels / max(1, pixels - 1)), share)


def synchronized(network: nn.Module, device: torch.device) -> nn.Module:
    """The network with batch normalisation over all workers; its parameters and their names stay. All workers call it
    together."""
    if device.type == "cuda":
        convert: Any = cast("Any", nn.SyncBatchNorm).convert_sync_batchnorm
        return cast("nn.Module", convert(network))
    if any(type(module) is nn.BatchNorm2d for module in network.modules()):
        _replace_norms(network, _Workers())
    return network


@contextmanager
def alone(network: nn.Module) -> Generator[None]:
    """Statistics of this worker's batches alone while the block runs, in which all workers see the same samples: shared, they
    would count each sample once for each worker. torch's SyncBatchNorm shares them nevertheless; its variances differ by the
    correction for their number."""
    norms = [module for module in network.modules() if isinstance(module, SynchronizedNorm)]
    for norm in norms:
        norm.is_alone = True
    try:
        yield
    finally:
        for norm in norms:
            norm.is_alone = False


def _replace_norms(network: nn.Module, workers: _Workers) -> None:
    for name, module in network.named_children():
        if type(module) is nn.BatchNorm2d:
            setattr(network, name, SynchronizedNorm(module, workers))
        else:
            _replace_norms(module, workers)
