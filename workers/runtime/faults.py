"""Classify errors of torch: caused by one row, by a batch that was too large, or by the device."""

from __future__ import annotations

import re

_OUT_OF_MEMORY = re.compile(
    r"out of memory|can't allocate memory|not enough memory|cudaErrorMemoryAllocation|STATUS_ALLOC_FAILED"
)
_DEVICE_FAULT = re.compile(
    r"\b(CUDA|HIP) (driver )?error\b|\bcudaError|\bhipError|device-side assert|NCCL error|"
    r"\bCU(BLAS|DNN|FFT|SPARSE|SOLVER)_STATUS_(EXECUTION_FAILED|INTERNAL_ERROR|MAPPING_ERROR|NOT_INITIALIZED)",
    re.IGNORECASE,
)


class DeviceFault(Exception):
    """A device failed. Every later computation on it in this process fails too; only a new process helps."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a smaller batch may succeed."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)) is not None


def is_device_fault(error: BaseException) -> bool:
    """Whether the device failed, or its context in this process, so that every later call fails too."""
    if is_out_of_memory(error):
        return False
    named = type(error).__name__ == "AcceleratorError"
    return named or (isinstance(error, RuntimeError) and _DEVICE_FAULT.search(str(error)) is not None)


def free_cached_memory() -> None:
    """Release the memory that torch caches, before a smaller batch is tried."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
