"""The memory that this process holds on its device, and may hold."""

from __future__ import annotations

from typing import Any


def held_bytes(device: str) -> int:
    """What torch has reserved on a GPU; 0 for the CPU, whose memory is the process's."""
    if not device.startswith("cuda"):
        return 0
    import torch

    return torch.cuda.memory_reserved(device)


def hold_at_most(device: str, gpu_part: float) -> None:
    """Hold no more than this part, in (0, 1], of a GPU's memory: more is OutOfMemoryError, for which batches are halved.

    Workers that share a GPU would otherwise take each other's, and whoever comes last would fail. A whole GPU has no bound.
    """
    if gpu_part >= 1 or not device.startswith("cuda"):
        return
    import torch

    cuda: Any = torch.cuda  # whose types leave out the fraction
    cuda.set_per_process_memory_fraction(gpu_part, torch.device(device).index)  # without an index, the current device
