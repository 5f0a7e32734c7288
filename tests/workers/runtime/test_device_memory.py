"""Memory that is held on a device: what torch has reserved on a GPU, and nothing on a CPU."""

from __future__ import annotations

import pytest
import torch

from pixelmill.workers.runtime.device_memory import held_bytes


def test_the_memory_of_a_cpu_is_that_of_its_process() -> None:
    assert held_bytes("cpu") == 0


def test_a_gpu_is_asked_by_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "memory_reserved", {"cuda": 3, "cuda:1": 5}.__getitem__)
    assert (held_bytes("cuda"), held_bytes("cuda:1")) == (3, 5)
