"""Run batches through a GPU without a gap: while one is computed, the next is on its way up and the last on its way down.

A ring of pinned batches lies between the thread and the device. The thread fills the next one, queues its copy, its pass and the
copy of its outputs, and goes on; it waits only for the slot that it is about to fill, and at the end for the outputs.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pixelmill.workers.runtime import stall_watchdog
from pixelmill.workers.runtime.device_lanes import Lanes, Mark
from pixelmill.workers.runtime.outputs import Outputs, joined, mapped

SLOTS = 3
"""One that is filled, one that is copied, one that waits: with two the thread would wait for every copy."""
BATCHES_A_RUN = 4
"""So many batches come at once on a GPU, where only the first is not copied while another is computed."""


class Pictures(Protocol):
    """A batch of pictures, or what makes one of each slice of it, so that only what is due is stacked."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> Tensor: ...


@dataclass
class _Slot:
    """Pinned memory of one batch, and the mark after which it may be filled again."""

    pinned_BCHW: Tensor
    copied: Mark | None = None


class DevicePipeline:
    """`run(images, microbatch)` returns the outputs of `forward` for all pictures, on the host and in their order."""

    def __init__(self, lanes: Lanes, forward: Callable[[Tensor], Outputs]) -> None:
        self._lanes, self._forward = lanes, forward
        self._slots: list[_Slot] = []

    def run(self, images: Pictures, microbatch: int) -> Outputs:
        """OutOfMemory at once for a batch that does not fit; errors of the device where its outputs are waited for.

        Nothing is returned of a run in which one pass failed.
        """
        started: list[tuple[Outputs, Mark]] = []
        for number, start in enumerate(range(0, len(images), microbatch)):
            chunk_BCHW = images[start : start + microbatch]
            started.append(self._start(chunk_BCHW, self._slot(number, chunk_BCHW, microbatch)))
        return joined([self._finished(outputs, mark) for outputs, mark in started])

    def halved(self, microbatch: int) -> int:
        """A smaller microbatch, once the device is idle and has its memory back."""
        self._slots.clear()
        self._lanes.drain()
        return microbatch // 2

    def _start(self, chunk_BCHW: Tensor, slot: _Slot) -> tuple[Outputs, Mark]:
        pinned_BCHW = slot.pinned_BCHW[: len(chunk_BCHW)]
        pinned_BCHW.copy_(chunk_BCHW)
        images_BCHW, slot.copied = self._lanes.up(pinned_BCHW)
        outputs, computed = self._lanes.compute(slot.copied, self._forward, images_BCHW)
        return self._lanes.down(computed, outputs)

    def _slot(self, number: int, chunk_BCHW: Tensor, microbatch: int) -> _Slot:
        """The next slot, once the device has read what was in it."""
        if self._slots and not _fits(self._slots[0].pinned_BCHW, chunk_BCHW):
            self._forget_slots()
        place = number % SLOTS
        if place == len(self._slots):
            capacity = max(microbatch, len(chunk_BCHW))
            self._slots.append(_Slot(self._lanes.pinned((capacity, *chunk_BCHW.shape[1:]), chunk_BCHW.dtype)))
        slot = self._slots[place]
        if slot.copied is not None:
            self._lanes.wait(slot.copied)
            slot.copied = None
        return slot

    def _forget_slots(self) -> None:
        for slot in self._slots:
            if slot.copied is not None:
                self._lanes.wait(slot.copied)
        self._slots.clear()

    def _finished(self, outputs: Outputs, mark: Mark) -> Outputs:
        self._lanes.wait(mark)
        stall_watchdog.progress()
        return mapped(_as_number, outputs)


def _fits(pinned_BCHW: Tensor, chunk_BCHW: Tensor) -> bool:
    is_alike = pinned_BCHW.shape[1:] == chunk_BCHW.shape[1:] and pinned_BCHW.dtype == chunk_BCHW.dtype
    return is_alike and len(pinned_BCHW) >= len(chunk_BCHW)


def _as_number(tensor: Tensor) -> Tensor:
    """Floats as float32, in memory that is not pinned."""
    return tensor.to(torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)
