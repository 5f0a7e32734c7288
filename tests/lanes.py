"""Lanes of a device that does nothing until it is waited for, so that whoever reads or writes too early is caught.

Work waits in a queue for each lane and is done at the latest moment that its marks allow. Pinned outputs hold 99 until then,
and a copy to the device reads the pinned memory when it is done and not when it was queued.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pixelmill.workers.runtime.outputs import Outputs, mapped

UNREAD = 99


@dataclass(eq=False)
class LateMark:
    """A place in a queue: reached once `left` is empty."""

    lane: LateLane
    after: int


@dataclass
class LateLane:
    """Work that has been queued, and how much of it was done."""

    name: str
    queued: deque[Callable[[], None]] = field(default_factory=deque[Callable[[], None]])
    done: int = 0
    put: int = 0

    def queue(self, work: Callable[[], None]) -> LateMark:
        self.queued.append(work)
        self.put += 1
        return LateMark(self, self.put)

    def run_to(self, place: int) -> None:
        while self.done < place:
            self.done += 1
            self.queued.popleft()()


class LateLanes:
    """`log` has each thing that the thread asked for. `error` is raised by the pass of that number, when it is waited for."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.log: list[str] = []
        self._fails_at, self._passes = fails_at, 0
        self._up, self._compute, self._down = LateLane("up"), LateLane("compute"), LateLane("down")

    def pinned(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        self.log.append(f"pinned {shape[0]}")
        return torch.zeros(tuple(shape), dtype=dtype)

    def up(self, pinned_BCHW: Tensor) -> tuple[Tensor, LateMark]:
        self.log.append("up")
        there_BCHW = torch.full_like(pinned_BCHW, UNREAD)
        return there_BCHW, self._up.queue(lambda: _copy(pinned_BCHW, there_BCHW))

    def compute(
        self, after: LateMark, forward: Callable[[Tensor], Outputs], images_BCHW: Tensor
    ) -> tuple[Outputs, LateMark]:
        self.log.append("compute")
        self._passes += 1
        number = self._passes
        made = mapped(lambda tensor: torch.full_like(tensor, UNREAD), forward(torch.zeros_like(images_BCHW)))

        def work() -> None:
            self.wait(after, by_host=False)
            if number == self._fails_at:
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            mapped(lambda into, value: into.copy_(value), made, forward(images_BCHW))

        return made, self._compute.queue(work)

    def down(self, after: LateMark, outputs: Outputs) -> tuple[Outputs, LateMark]:
        self.log.append("down")
        here = mapped(lambda tensor: torch.full_like(tensor, UNREAD), outputs)

        def work() -> None:
            self.wait(after, by_host=False)
            mapped(lambda into, value: into.copy_(value), here, outputs)

        return here, self._down.queue(work)

    def wait(self, mark: LateMark, *, by_host: bool = True) -> None:
        if by_host:
            self.log.append(f"wait {mark.lane.name} {mark.after}")
        mark.lane.run_to(mark.after)

    def drain(self) -> None:
        self.log.append("drain")
        for lane in (self._up, self._compute, self._down):
            lane.run_to(lane.put)


def _copy(value: Tensor, into: Tensor) -> None:
    into.copy_(value)
