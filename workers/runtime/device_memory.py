"""The memory that this process holds on its device."""

from __future__ import annotations


def held_bytes(device: str) -> int:
    """What torch has reserved on a GPU; 0 for the CPU, whose memory is the process's."""
    if not device.startswith("cuda"):
        return 0
    import torch

    return torch.cuda.memory_reserved(device)
