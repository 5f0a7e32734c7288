"""Run a network on batches of pictures in given settings: normalized, in microbatches, on any device.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from pixelmill.workers.runtime import stall_watchdog
from pixelmill.workers.runtime.converted_models import ConvertedModels
from pixelmill.workers.runtime.device_lanes import CudaLanes, Lanes
from pixelmill.workers.runtime.device_pipeline import DevicePipeline, Pictures
from pixelmill.workers.runtime.faults import free_cached_memory
from pixelmill.workers.runtime.folding import folded
from pixelmill.workers.runtime.normalizing import Normalizer
from pixelmill.workers.runtime.openvino import OpenVinoNetwork
from pixelmill.workers.runtime.openvino_sizes import OpenVinoBySize, SizeRules
from pixelmill.workers.runtime.outputs import Outputs, as_numbers_on_cpu, first_rows, joined
from pixelmill.workers.runtime.settings import PRECISIONS, Precision, Settings


@dataclass(frozen=True)
class PixelNetwork:
    """A network and its input: `module((pixels / 255 - mean) / std)`, with `input_px` pixels along a side.

    `mean` and `std` have a number for each channel. `input_px` is None for a network that takes any size. `precisions` are those
    in which the network computes correctly; no other is tried. `licence` is that of its weights, and `quantized` says how they
    were quantized and how that agrees with float32, for the record of the run.
    `converted` is where its conversions for OpenVINO are kept between runs; None: nowhere.
    """

    module: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_px: int | None
    precisions: tuple[Precision, ...] = PRECISIONS
    licence: str | None = None
    converted: ConvertedModels | None = None
    quantized: str | None = None


class Float32Input(nn.Module):
    """A network that takes float32 in every precision, and decides itself which values may be rounded."""


class Executor:
    """A network with its settings applied: `executor(images_BCHW)` returns its outputs on the CPU, floats as float32.

    If the device runs out of memory, the microbatch is halved permanently and all pictures are run again. `rules` are for a
    network that takes any size and is run by OpenVINO. Batches go through a GPU by `lanes`, and one by one through a CPU.
    """

    def __init__(
        self,
        network: PixelNetwork,
        settings: Settings,
        rules: SizeRules | None = None,
        lanes: Lanes | None = None,
    ) -> None:
        self.settings = settings
        self._run = _prepared(network, settings, rules or SizeRules())
        self._has_one_shape = settings.compile or (settings.backend == "openvino" and network.input_px is not None)
        takes_float32 = isinstance(network.module, Float32Input)
        is_given_float32 = takes_float32 or settings.backend == "openvino"
        dtype = torch.float32 if is_given_float32 else getattr(torch, settings.precision)
        layout = torch.channels_last if _takes_interleaved(network, settings) else torch.contiguous_format
        self._normalized = Normalizer(network.mean, network.std, settings.device, dtype, layout)
        lanes = CudaLanes(settings.device) if lanes is None and settings.device.startswith("cuda") else lanes
        self._pipeline = None if lanes is None else DevicePipeline(lanes, self._on_device)

    @torch.inference_mode()
    def __call__(self, images: Pictures) -> Outputs:
        while True:
            try:
                return self._all(images)
            except torch.OutOfMemoryError:
                if self.settings.microbatch == 1:
                    raise
            # Outside of the except block the exception is released, and with it the tensors that its traceback holds.
            self.settings = replace(self.settings, microbatch=self._smaller())

    @torch.inference_mode()
    def in_one_pass(self, images_BCHW: Tensor) -> Outputs:
        """Run all pictures in one pass: for sizes other than the one for which the microbatch was chosen."""
        if self._pipeline is not None:
            return self._pipeline.run(images_BCHW, len(images_BCHW))
        return as_numbers_on_cpu(self._forward(images_BCHW))

    def _all(self, images: Pictures) -> Outputs:
        microbatch = self.settings.microbatch
        if self._pipeline is not None:
            return self._pipeline.run(images, microbatch)
        return joined([self._pass(images[start : start + microbatch]) for start in range(0, len(images), microbatch)])

    def _pass(self, images_BCHW: Tensor) -> Outputs:
        outputs = self._forward(self._padded(images_BCHW))
        stall_watchdog.progress()
        return as_numbers_on_cpu(first_rows(outputs, len(images_BCHW)))

    def _smaller(self) -> int:
        if self._pipeline is not None:
            return self._pipeline.halved(self.settings.microbatch)
        free_cached_memory()
        return self.settings.microbatch // 2

    def _on_device(self, images_BCHW: Tensor) -> Outputs:
        """A pass of pictures that lie on the device, padded there."""
        return first_rows(self._forward(self._padded(images_BCHW)), len(images_BCHW))

    def _padded(self, images_BCHW: Tensor) -> Tensor:
        """Pad to the one shape of a compiled network: another shape would be compiled again, which takes as long."""
        missing = self.settings.microbatch - len(images_BCHW)
        if not self._has_one_shape or missing == 0:
            return images_BCHW
        return torch.cat([images_BCHW, images_BCHW.new_zeros(missing, *images_BCHW.shape[1:])])

    def _forward(self, images_BCHW: Tensor) -> Outputs:
        return self._run(self._normalized(images_BCHW))


def _takes_interleaved(network: PixelNetwork, settings: Settings) -> bool:
    """OpenVINO computes in HWC, and turns planes into it first."""
    return settings.channels_last or (settings.backend == "openvino" and network.input_px is not None)


def has_volumes(module: nn.Module) -> bool:
    """Whether it convolves along three axes."""
    return any(weight.dim() == 5 for weight in module.parameters())


def _prepared(network: PixelNetwork, settings: Settings, rules: SizeRules) -> Callable[[Tensor], Outputs]:
    torch.set_num_threads(settings.threads)
    if settings.backend == "torch":
        return _by_torch(network, settings)
    if network.input_px is not None:
        module = _copied(network, settings).float()
        kept = network.converted and network.converted.of(module, settings.precision)
        return OpenVinoNetwork(module, settings.precision, settings.threads, kept)
    run, dtype = _by_torch(network, settings), getattr(torch, settings.precision)

    def by_torch(images_BCHW: Tensor) -> Outputs:
        return run(images_BCHW.to(dtype))

    return OpenVinoBySize(network.module, by_torch, settings.precision, settings.threads, rules, network.converted)


def _copied(network: PixelNetwork, settings: Settings) -> nn.Module:
    module = copy.deepcopy(network.module).eval().requires_grad_(False)
    return folded(module) if settings.fold_batchnorm else module


def _by_torch(network: PixelNetwork, settings: Settings) -> Callable[[Tensor], Outputs]:
    module = _copied(network, settings).to(settings.device).to(getattr(torch, settings.precision))
    last = torch.channels_last_3d if has_volumes(module) else torch.channels_last
    module = module.to(memory_format=last if settings.channels_last else torch.contiguous_format)
    if not settings.compile:
        return module
    # Weights become constants on a CPU, which lays them out for its kernels. Inductor keeps graphs as pickles, so none is kept.
    options: dict[str, str | int | bool | Callable[..., Any]] = {
        "freezing": settings.device == "cpu",
        "fx_graph_cache": False,
    }
    # Pictures of any size are compiled once, with dynamic sizes; otherwise each size would be compiled separately.
    return torch.compile(module, dynamic=True if network.input_px is None else None, options=options)
