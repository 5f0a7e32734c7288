"""The streams of a GPU: each waits for the event of the one before it, and memory that two of them share is kept for both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from pixelmill.workers.runtime.device_lanes import CudaLanes
from pixelmill.workers.runtime.device_pipeline import DevicePipeline


class FakeCuda:
    """What CudaLanes takes of torch.cuda, which writes down what it is asked; its device is the CPU."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.current = "default"
        names = iter(("up", "compute", "down"))
        self.Stream = lambda device: FakeStream(self, next(names))

    def current_stream(self, device: str) -> FakeStream:
        return FakeStream(self, "default")

    @contextmanager
    def stream(self, stream: FakeStream) -> Iterator[None]:
        before, self.current = self.current, stream.name
        yield
        self.current = before

    def empty_cache(self) -> None:
        self.log.append("empty cache")


class FakeStream:
    def __init__(self, cuda: FakeCuda, name: str) -> None:
        self._cuda, self.name, self._events = cuda, name, 0

    def record_event(self) -> FakeEvent:
        self._events += 1
        self._cuda.log.append(f"{self.name}: record {self._events}")
        return FakeEvent(self._cuda, f"{self.name} {self._events}")

    def wait_event(self, event: FakeEvent) -> None:
        self._cuda.log.append(f"{self.name}: wait for {event.name}")

    def wait_stream(self, stream: FakeStream) -> None:
        self._cuda.log.append(f"{self.name}: wait for {stream.name}")

    def synchronize(self) -> None:
        self._cuda.log.append(f"host: wait for all of {self.name}")


class FakeEvent:
    def __init__(self, cuda: FakeCuda, name: str) -> None:
        self._cuda, self.name = cuda, name

    def synchronize(self) -> None:
        self._cuda.log.append(f"host: wait for {self.name}")


def test_each_stream_waits_for_the_one_before_and_the_host_for_the_last() -> None:
    cuda = FakeCuda()
    lanes = CudaLanes("cpu", cuda)

    def forward(images_BCHW: Tensor) -> Tensor:
        cuda.log.append(f"{cuda.current}: forward")
        return images_BCHW.float().mean((1, 2, 3))

    images = torch.arange(4, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)
    assert DevicePipeline(lanes, forward).run(images, 4).tolist() == [0, 1, 2, 3]
    assert cuda.log == [
        "compute: wait for default",
        "up: record 1",
        "compute: wait for up 1",
        "compute: forward",
        "compute: record 1",
        "down: wait for compute 1",
        "down: record 1",
        "host: wait for down 1",
    ]


def test_no_lane_works_when_memory_is_given_back() -> None:
    cuda = FakeCuda()
    lanes = CudaLanes("cpu", cuda)
    cuda.log.clear()
    lanes.drain()
    assert cuda.log == [*(f"host: wait for all of {name}" for name in ("up", "compute", "down")), "empty cache"]


def test_pinned_pictures_lie_as_crops_do_and_outputs_as_the_device_made_them() -> None:
    lanes = CudaLanes("cpu", FakeCuda())
    assert lanes.pinned((2, 3, 4, 5), torch.uint8).is_contiguous(memory_format=torch.channels_last)
    for layout in (torch.channels_last, torch.contiguous_format):
        maps_BCHW = torch.rand(2, 3, 4, 5).contiguous(memory_format=layout)
        copied, _ = lanes.down(lanes.up(maps_BCHW)[1], maps_BCHW)
        assert copied.stride() == maps_BCHW.stride()
        assert torch.equal(copied, maps_BCHW)
