"""Memory that is held on a device: what torch has reserved on a GPU, and nothing on a CPU."""

from __future__ import annotations

import pytest
import torch

from pixelmill.workers.runtime.device_memory import held_bytes, hold_at_most


def test_the_memory_of_a_cpu_is_that_of_its_process() -> None:
    assert held_bytes("cpu") == 0


def test_a_gpu_is_asked_by_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "memory_reserved", {"cuda": 3, "cuda:1": 5}.__getitem__)
    assert (held_bytes("cuda"), held_bytes("cuda:1")) == (3, 5)


def test_a_worker_with_a_part_of_a_gpu_is_held_to_that_part(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[tuple[float, object]] = []
    monkeypatch.setattr(torch._C, "_cuda_setMemoryFraction", lambda *given: held.append(given), raising=False)
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: None)
    monkeypatch.setattr(torch.cuda.memory, "_lazy_init", lambda: None)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    for device, gpu_part in (("cuda", 0.5), ("cuda:1", 0.25), ("cuda", 1.0), ("cpu", 0.5)):
        hold_at_most(device, gpu_part)
    assert held == [(0.5, 3), (0.25, 1)]
