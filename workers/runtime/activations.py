"""Measure how much memory a network's activations take for a picture of so many pixels, before a batch of them is run.

The network runs over small pictures on the CPU, in float32, and every tensor that a function of torch makes is counted while it
lives. What a kernel takes for itself is not seen: SPARE is for that. A mode of torch's dispatcher counts the same of seven
networks, but it imports TorchDynamo, which takes seconds; torch's meta device lacks kernels, such as those of SegNet's unpooling.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

SPARE = 1.6
"""Resident memory by what is counted. Of our networks at 1024 x 768 px on one thread it grew by 1.3 (segnet, faststyle), 1.4
(unet) and 1.6 (fcn8s) times that, and by 2.2 for the one that takes least (monodepth, 0.1 GB)."""
DEVICE_SHARE = 2
"""One part in so many of a device's free memory is for a batch: other workers may share it, and kernels take workspaces."""


@dataclass(frozen=True)
class Activations:
    """Peak bytes of one picture of `area` pixels: `linear * area + quadratic * area ** 2`, as attention has the latter."""

    linear: float
    quadratic: float = 0.0

    def bytes_at(self, area: int) -> float:
        return self.linear * area + self.quadratic * area**2

    def most_pixels(self, available_bytes: int) -> int:
        """The most pixels of one picture whose activations fit; at least 1."""
        low, high = 1, 1 << 40
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.bytes_at(middle) <= available_bytes else (low, middle - 1)
        return low


def activations_of(module: nn.Module, channels: int, sizes: Sequence[tuple[int, int]]) -> Activations | None:
    """Measured at one or two sizes (height, width) that the network takes, the larger one last; None if it can't be measured.

    A network of another library says by `has_hidden_activations` that torch sees none of its tensors.
    """
    if getattr(module, "has_hidden_activations", False):
        return None
    try:
        peaks = [_peak(module, channels, size) for size in sizes]
    except (
        RuntimeError,
        ValueError,
        TypeError,
    ):  # of a network that takes no picture of zeros; its first batch shows why
        return None
    return _fitted([height * width for height, width in sizes], peaks)


def _fitted(areas: Sequence[int], peaks: Sequence[int]) -> Activations:
    each = [SPARE * peak / area for area, peak in zip(areas, peaks, strict=True)]
    quadratic = max(0.0, (each[-1] - each[0]) / (areas[-1] - areas[0])) if areas[-1] > areas[0] else 0.0
    return Activations(max(1.0, each[-1] - quadratic * areas[-1]), quadratic)


@torch.inference_mode()
def _peak(module: nn.Module, channels: int, size: tuple[int, int]) -> int:
    """Most bytes of the tensors that live at once, with the picture as 8-bit levels and as floats before and after scaling."""
    images_BCHW = torch.zeros(1, channels, *size)
    counted = _LiveBytes()
    with counted:
        module(images_BCHW)
    return counted.peak + 3 * images_BCHW.nbytes


class _LiveBytes(TorchFunctionMode):
    """Counts the storages of every function's outputs until they are freed."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known = weakref.WeakSet[Any]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs: Any = func(*args, **(kwargs or {}))
        several: Sequence[Any] = cast("Sequence[Any]", outputs) if isinstance(outputs, tuple | list) else (outputs,)
        for tensor in several:
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return cast("Any", outputs)

    def _count(self, storage: Any) -> None:
        if storage in self._known:
            return
        self._known.add(storage)
        size = int(storage.nbytes())
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._free, size)

    def _free(self, size: int) -> None:
        self.live -= size


def memory_for_batches(device: str, host_bytes: int | None, gpu_part: float = 1.0) -> int | None:
    """Bytes for the activations of one batch: a share of a GPU's free memory, elsewhere the worker's; None: unknown.

    A worker that has only a part of its GPU, `gpu_part` in (0, 1], takes no more than a share of that part of its memory.
    """
    if not device.startswith("cuda"):
        return host_bytes
    free_bytes, all_bytes = torch.cuda.mem_get_info(device)
    return min(free_bytes, int(gpu_part * all_bytes)) // DEVICE_SHARE
