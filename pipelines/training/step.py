"""One optimiser step over a worker's passes, with its own random numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from pixelmill.pipelines.training.compilation import compiled_where_faster
from pixelmill.pipelines.training.finite import FiniteLosses, require_finite_weights
from pixelmill.workers.recipes import Batch, ClipsGradients, Recipe


class Descent:
    """Takes optimiser steps; `trained` is the network, or its wrapper that averages gradients over workers."""

    def __init__(
        self, recipe: Recipe, network: nn.Module, trained: nn.Module, optimizer: Optimizer, device: torch.device
    ) -> None:
        self._recipe, self._network, self._trained = recipe, network, trained
        self._optimizer, self._device = optimizer, device
        self._finite = FiniteLosses(device, several=isinstance(trained, DistributedDataParallel))

    def __call__(
        self, step: int, steps: int, rank: int, passes: list[Batch], names: Callable[[], Sequence[str]]
    ) -> dict[str, Tensor]:
        """The losses, averaged over the passes. Raises TrainingFailed, with the `names` of the samples, when one is not
        a number; on a GPU possibly some steps later, see `require_finite`."""
        self._seed((self._recipe.settings.seed * 1_000_003 + step) * 64 + rank)
        if not (self._trained.training and self._network.training):
            self._trained.train()  # a walk over all modules, and an evaluation calls it too
        rate = self._recipe.rate(step, steps)
        for group in self._optimizer.param_groups:
            group["lr"] = group["initial_lr"] * rate
        self._optimizer.zero_grad(set_to_none=True)
        totals: dict[str, Tensor] = {}
        for number, batch in enumerate(passes):
            with self._synchronized(is_last=number == len(passes) - 1):
                losses = self._losses(batch, self._trained)
                self._finite.add(step, losses, names)
                torch.autograd.backward(losses["loss"] / len(passes))
            for name, value in losses.items():
                share = value.detach() / len(passes)
                totals[name] = totals[name] + share if name in totals else share
        self._clip()
        self._optimizer.step()
        return totals

    def compile_where_faster(self, batch: Batch, choice: bool | None) -> bool:
        """Compile the network if that is faster for this batch; returns the choice, for `choice` after a restart."""
        self._trained, choice = compiled_where_faster(
            self._network, lambda network: self._losses(batch, network)["loss"], choice
        )
        return choice

    def require_finite_losses(self) -> None:
        """Raises TrainingFailed where a loss so far is not a number. Call it on all workers at the same step."""
        self._finite.require()

    def require_finite(self, step: int) -> None:
        """The same for losses and weights, before they are evaluated or saved."""
        self.require_finite_losses()
        require_finite_weights(self._network, step)

    def _seed(self, seed: int) -> None:
        """Seed the device in use only: torch.manual_seed would also record the call stack for each device that is
        not."""
        torch.default_generator.manual_seed(seed)
        if self._device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _losses(self, batch: Batch, network: nn.Module) -> dict[str, Tensor]:
        moved = {name: tensor.to(self._device, non_blocking=True) for name, tensor in batch.items()}
        is_half = self._recipe.settings.precision == "bfloat16"
        with torch.autocast(self._device.type, torch.bfloat16, enabled=is_half):
            return self._recipe.losses(network, moved)

    def _synchronized(self, *, is_last: bool) -> AbstractContextManager[None]:
        """Exchange gradients between workers only in the last pass."""
        if is_last or not isinstance(self._trained, DistributedDataParallel):
            return nullcontext()
        return self._trained.no_sync()

    def _clip(self) -> None:
        if isinstance(self._recipe, ClipsGradients):
            self._recipe.clip(self._network, self._optimizer.param_groups[0]["lr"])
        elif self._recipe.settings.max_gradient_norm is not None:
            nn.utils.clip_grad_norm_(self._network.parameters(), self._recipe.settings.max_gradient_norm)
