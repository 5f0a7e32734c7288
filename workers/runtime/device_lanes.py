"""The lanes of a GPU: pictures are copied to it, computed and copied back beside one another, each lane in its own order.

A lane is a stream. What is queued on it is done later, and a mark says when: another lane waits for a mark on the device, and
only `wait` holds up the thread. The pipeline knows lanes by this protocol alone, and tests put others in their place.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from pixelmill.workers.runtime.outputs import Outputs, mapped, tensors_of

Mark = Any
"""Reached once everything before it on its lane is done; what lanes make and take, and no one else looks into."""


class Lanes(Protocol):
    """Three lanes of one device: up, compute, down."""

    def pinned(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Memory of the host for images, channels last, that the device copies from while the thread goes on."""
        ...

    def up(self, pinned_BCHW: Tensor) -> tuple[Tensor, Mark]:
        """The pictures on the device. Until the mark the pinned memory must stay as it is."""
        ...

    def compute(
        self, after: Mark, forward: Callable[[Tensor], Outputs], images_BCHW: Tensor
    ) -> tuple[Outputs, Mark]: ...

    def down(self, after: Mark, outputs: Outputs) -> tuple[Outputs, Mark]:
        """The outputs in pinned memory, which must not be read before the mark."""
        ...

    def wait(self, mark: Mark) -> None:
        """Hold up the thread until the mark; raises what went wrong on the device before it."""
        ...

    def drain(self) -> None:
        """Wait for all lanes and give back the memory that torch keeps, before a smaller batch is tried."""
        ...


class CudaLanes:
    """Streams of CUDA. `cuda` is torch.cuda."""

    def __init__(self, device: str, cuda: Any = torch.cuda) -> None:
        self._device, self._cuda = device, cuda
        self._pins = not device.startswith("cpu")
        self._up, self._compute, self._down = (cuda.Stream(device) for _ in range(3))
        self._compute.wait_stream(cuda.current_stream(device))  # on which the network was brought to the device

    def pinned(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.empty(tuple(shape), dtype=dtype, memory_format=torch.channels_last, pin_memory=self._pins)

    def up(self, pinned_BCHW: Tensor) -> tuple[Tensor, Mark]:
        with self._cuda.stream(self._up):
            images_BCHW = pinned_BCHW.to(self._device, non_blocking=True)
            return images_BCHW, self._up.record_event()

    def compute(self, after: Mark, forward: Callable[[Tensor], Outputs], images_BCHW: Tensor) -> tuple[Outputs, Mark]:
        self._compute.wait_event(after)
        with self._cuda.stream(self._compute):
            self._keep([images_BCHW], self._compute)
            return forward(images_BCHW), self._compute.record_event()

    def down(self, after: Mark, outputs: Outputs) -> tuple[Outputs, Mark]:
        self._down.wait_event(after)
        with self._cuda.stream(self._down):
            self._keep(tensors_of(outputs), self._down)
            return mapped(self._copied, outputs), self._down.record_event()

    def _copied(self, tensor: Tensor) -> Tensor:
        pinned = torch.empty_like(
            tensor, device="cpu", pin_memory=self._pins
        )  # of other strides it would not be one copy
        return pinned.copy_(tensor, non_blocking=True)

    def _keep(self, tensors: Sequence[Tensor], stream: Any) -> None:
        """Memory made on one stream is given to others only once this one has read it."""
        for tensor in tensors:
            if tensor.is_cuda:
                tensor.record_stream(stream)

    def wait(self, mark: Mark) -> None:
        mark.synchronize()

    def drain(self) -> None:
        for stream in (self._up, self._compute, self._down):
            stream.synchronize()
        self._cuda.empty_cache()
