"""What an error is an error of."""

from __future__ import annotations

import pytest
import torch

from pixelmill.workers.runtime.faults import is_device_fault, is_out_of_memory

OUT_OF_MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    torch.AcceleratorError("CUDA error: out of memory"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]
DEVICE = [
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("CUDA error: device-side assert triggered"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("HIP error: the operation cannot be performed in the present state"),
    RuntimeError("CUDA driver error: unknown error"),
    RuntimeError("copy failed: cudaErrorECCUncorrectable"),
]
ROW = [
    RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
    RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED"),
    ValueError("CUDA error: says a file name"),
    OSError("CUDA error"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=str)
def test_out_of_memory_is_of_a_batch(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert not is_device_fault(error)


@pytest.mark.parametrize("error", DEVICE, ids=str)
def test_a_fault_of_the_device(error: Exception) -> None:
    assert is_device_fault(error)
    assert not is_out_of_memory(error)


@pytest.mark.parametrize("error", ROW, ids=str)
def test_all_else_is_of_a_row(error: Exception) -> None:
    assert not is_device_fault(error)
    assert not is_out_of_memory(error)
