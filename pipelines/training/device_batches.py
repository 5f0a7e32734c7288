"""Bring batches to the device of the training before their step, and finish there what a recipe leaves to it.

For a GPU the threads that make batches draw, cut in 8 bits and pin. The training thread then starts the copy and the recipe's
arithmetic on a stream of their own, while the GPU still computes the step before; it waits for neither.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager

import torch
from torch import Tensor

from pixelmill.pipelines.training.batches import Made, MakesBatch
from pixelmill.workers.recipes import AugmentsOnDevice, Batch, Recipe


def maker_of(recipe: Recipe, device: torch.device) -> MakesBatch:
    """What the threads make of a chunk's samples: batches for the CPU, draws for a device that can do the arithmetic."""
    if device.type != "cpu" and isinstance(recipe, AugmentsOnDevice):
        return recipe.drawn
    return recipe.batch


class Pinned:
    """Puts batches for a GPU into pinned memory on the thread that makes them, so that no step waits for the copy."""

    def __init__(self, device: torch.device) -> None:
        self.is_for_gpu = device.type == "cuda"

    def __call__(self, made: Made) -> Made:
        if not self.is_for_gpu:
            return made
        indices, passes = made
        return indices, [{name: tensor.pin_memory() for name, tensor in batch.items()} for batch in passes]


class SideStream:
    """A stream of the GPU beside the one of the steps."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)

    @contextmanager
    def used(self) -> Generator[None]:
        """Work is queued on this stream for as long as the block runs."""
        with torch.cuda.stream(self._stream):
            yield

    def hand_over(self, tensors: Iterable[Tensor]) -> None:
        """The steps' stream, not this thread, waits for the tensors; their memory is kept until it has read them."""
        steps = torch.cuda.current_stream()
        steps.wait_stream(self._stream)  # pyright: ignore[reportUnknownMemberType]
        for tensor in tensors:
            tensor.record_stream(steps)


class OnDevice:
    """Moves a step's batches to the device, augmented: what `losses` takes."""

    def __init__(self, recipe: Recipe, device: torch.device, side: SideStream | None = None) -> None:
        self._device, self._recipe = device, recipe
        self._side = SideStream(device) if side is None and device.type == "cuda" else side

    def __call__(self, made: Made) -> Made:
        indices, passes = made
        if self._device.type == "cpu":
            return made
        if self._side is None:
            return indices, [self._moved(batch) for batch in passes]
        with self._side.used():
            passes = [self._moved(batch) for batch in passes]
        self._side.hand_over(tensor for batch in passes for tensor in batch.values())
        return indices, passes

    @torch.no_grad()
    def _moved(self, batch: Batch) -> Batch:
        moved = {name: tensor.to(self._device, non_blocking=True) for name, tensor in batch.items()}
        return self._recipe.augmented(moved) if isinstance(self._recipe, AugmentsOnDevice) else moved
