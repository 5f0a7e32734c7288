"""The laws of building a stranger's network: never more memory than its file accounts for, and no weight that is no number."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.construction import bounded, require_finite, shapes_in, tensors_in


def test_a_network_of_the_size_of_its_file_is_built() -> None:
    with bounded("m", {"weight": (64, 64), "bias": (64,)}):
        nn.Linear(64, 64)


def test_one_that_is_far_larger_is_refused_before_its_memory_is_written() -> None:
    with pytest.raises(ModelError, match="more than twice the 1 tensors"), bounded("m", {"weight": (64, 64)}):
        nn.Linear(1 << 15, 1 << 15)  # 4 GB, which are reserved and never touched


def test_one_of_far_more_tensors_is_refused_while_it_is_built() -> None:
    built: list[nn.Module] = []

    def build() -> None:
        built.extend(nn.Linear(1, 1) for _ in range(1 << 20))

    with pytest.raises(ModelError, match="more than twice the 2 tensors"), bounded("m", {"a": (1,), "b": (1,)}):
        build()
    assert len(built) < 64


def test_buffers_count_too() -> None:
    with pytest.raises(ModelError, match="more than twice"), bounded("m", {"a": (1,)}):
        nn.Module().register_buffer("table", torch.empty(1 << 30, device="meta"))


def test_other_threads_and_what_is_built_later_are_not_counted() -> None:
    def build() -> None:
        for _ in range(200):
            nn.Linear(1, 1)

    with bounded("m", {"a": (1,)}):
        thread = threading.Thread(target=build)
        thread.start()
        thread.join()
    build()


def test_building_leaves_the_random_numbers_of_the_process_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    with bounded("m", {"a": (64, 64)}):
        nn.Linear(64, 64)
    assert torch.equal(torch.rand(1), expected)


def test_weights_of_several_files_come_together_as_float32(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2, dtype=torch.float16)}, tmp_path / "1.safetensors")
    save_file({"b": torch.ones(3, dtype=torch.int64)}, tmp_path / "2.safetensors")
    files = [tmp_path / "1.safetensors", tmp_path / "2.safetensors"]
    assert shapes_in(files) == {"a": (2,), "b": (3,)}
    assert {name: tensor.dtype for name, tensor in tensors_in(files).items()} == {"a": torch.float32, "b": torch.int64}


def test_a_weight_that_is_no_number_is_named() -> None:
    network = nn.Linear(2, 2).train()
    assert not require_finite("m", network).training
    nn.init.constant_(network.bias, torch.inf)
    with pytest.raises(ModelError, match="bias hold values that are no numbers"):
        require_finite("m", network)
