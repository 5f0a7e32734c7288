"""Batches overlap on a device, and nothing is read before it is there nor overwritten before it was read."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pixelmill.workers.runtime.device_pipeline import SLOTS, DevicePipeline
from pixelmill.workers.runtime.execution import Executor
from pixelmill.workers.runtime.faults import is_device_fault
from pixelmill.workers.runtime.settings import Settings
from tests.lanes import LateLanes
from tests.small_networks import network, pictures


def numbers(count: int, side: int = 2) -> Tensor:
    return torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, side, side)


def twice(images_BCHW: Tensor) -> dict[str, Tensor]:
    return {"twice": images_BCHW.float().mean((1, 2, 3)) * 2, "ids": images_BCHW[:, 0]}


@pytest.mark.parametrize("count", [1, 4, 5, 8, 40])
def test_outputs_are_those_of_the_pictures_in_their_order(count: int) -> None:
    made = DevicePipeline(LateLanes(), twice).run(numbers(count), 4)
    assert made["twice"].tolist() == [2.0 * number for number in range(count)]
    assert torch.equal(made["ids"], numbers(count)[:, 0])


def test_the_thread_waits_for_a_slot_that_it_fills_again_and_for_nothing_else_before_the_end() -> None:
    lanes = LateLanes()
    DevicePipeline(lanes, twice).run(numbers(20), 4)
    queued = ["up", "compute", "down"]
    assert lanes.log == [
        *["pinned 4", *queued] * SLOTS,
        *["wait up 1", *queued],
        *["wait up 2", *queued],
        *[f"wait down {number}" for number in range(1, 6)],
    ]


def test_pinned_batches_are_kept_for_the_next_run_and_made_anew_for_another_size() -> None:
    lanes = LateLanes()
    pipeline = DevicePipeline(lanes, twice)
    for side in (2, 2, 5):
        made = pipeline.run(numbers(8, side), 4)
        assert made["twice"].tolist() == [2.0 * number for number in range(8)]
    assert [line for line in lanes.log if line.startswith("pinned")] == ["pinned 4"] * 4


def test_the_next_batch_is_asked_for_once_the_last_one_is_queued() -> None:
    lanes = LateLanes()

    class Asked:
        def __len__(self) -> int:
            return 8

        def __getitem__(self, part: slice) -> Tensor:
            lanes.log.append(f"stacked {part.start}")
            return numbers(8)[part]

    DevicePipeline(lanes, twice).run(Asked(), 4)
    assert lanes.log[:10] == [
        *["stacked 0", "pinned 4", "up", "compute", "down"],
        *["stacked 4", "pinned 4", "up", "compute", "down"],
    ]


def test_an_error_of_the_device_leaves_no_outputs_and_is_told_from_one_of_a_row() -> None:
    with pytest.raises(RuntimeError, match="illegal memory access") as raised:
        DevicePipeline(LateLanes(fails_at=2), twice).run(numbers(20), 4)
    assert is_device_fault(raised.value)


class Greedy(nn.Module):
    """Has memory for four pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[int] = []

    def forward(self, images_BCHW: Tensor) -> Tensor:
        self.taken.append(len(images_BCHW))
        if len(images_BCHW) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return images_BCHW.flatten(1)


def test_a_device_short_of_memory_is_idle_before_half_a_batch_is_tried() -> None:
    lanes = LateLanes()
    executor = Executor(network(Greedy()), Settings(microbatch=16), lanes=lanes)
    made = executor(pictures())
    assert torch.equal(made, Executor(network(Greedy()), Settings(microbatch=4))(pictures()))
    assert executor.settings.microbatch == 4
    assert lanes.log[:8] == ["pinned 16", "up", "compute", "drain", "pinned 8", "up", "compute", "drain"]
    with pytest.raises(torch.OutOfMemoryError):
        executor.in_one_pass(pictures(5))


@pytest.mark.parametrize("count", [3, 16])
def test_an_executor_with_lanes_makes_what_one_without_makes(count: int) -> None:
    settings = Settings(microbatch=5, channels_last=False)
    by_lanes, plain = Executor(network(), settings, lanes=LateLanes()), Executor(network(), settings)
    torch.testing.assert_close(by_lanes(pictures(count)), plain(pictures(count)))
    torch.testing.assert_close(by_lanes.in_one_pass(pictures(count)), plain.in_one_pass(pictures(count)))
