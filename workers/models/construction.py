"""Build a network from an untrusted config without using more memory than its file of weights accounts for.

Parameters and buffers are counted when they are registered, before anything is written to them; memory that is reserved and
never written costs nothing.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.weight_files import Shapes, open_weights, stored_shapes

SPARE_TENSORS, SPARE_ELEMENTS = 64, 1 << 24
"""Bytes that a network may have beyond twice the size of its file, for kernels and tables that it computes itself."""


@contextmanager
def bounded(model: str, shapes: Shapes, *, registrations: int = 1) -> Generator[None]:
    """Raise ModelError if a network that is built inside the `with` block has far more or far larger tensors than its file.

    `registrations` is how often each tensor is registered until the network is complete.
    """
    most_tensors = registrations * (2 * len(shapes) + SPARE_TENSORS)
    stored_elements = sum(math.prod(shape) for shape in shapes.values())
    most_elements = registrations * (2 * stored_elements + SPARE_ELEMENTS)
    tensors, elements, thread = 0, 0, threading.get_ident()

    def count(_module: nn.Module, _name: str, tensor: Tensor | None) -> None:
        nonlocal tensors, elements
        if tensor is None or threading.get_ident() != thread:
            return
        tensors, elements = tensors + 1, elements + tensor.numel()
        if tensors > most_tensors or elements > most_elements:
            raise ModelError(
                f"model {model}: its config describes a network of more than twice the {len(shapes):,} tensors or the size "
                "of its weights; take config and weights from the same model"
            )

    hooks = [register_module_parameter_registration_hook(count), register_module_buffer_registration_hook(count)]
    try:
        with torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]
            yield
    finally:
        for hook in hooks:
            hook.remove()


def shapes_in(files: list[Path]) -> Shapes:
    """The shapes in the headers of several safetensors files; no tensor is read."""
    return {name: shape for file in files for name, shape in stored_shapes(file).items()}


def tensors_in(files: list[Path]) -> dict[str, Tensor]:
    """All tensors of several safetensors files, on the CPU; floats are converted to float32."""
    state: dict[str, Tensor] = {}
    for file in files:
        with open_weights(file) as opened:
            for name in opened.keys():  # noqa: SIM118
                tensor = opened.get_tensor(name)
                state[name] = tensor.float() if tensor.is_floating_point() else tensor
    return state


def require_finite(model: str, module: nn.Module) -> nn.Module:
    """The network in eval mode and float32; ModelError if a weight is NaN or infinite."""
    broken = [name for name, tensor in module.state_dict().items() if not bool(tensor.isfinite().all())]
    if broken:
        several = ", ".join(sorted(broken)[:6])
        raise ModelError(f"model {model}: {several} hold values that are no numbers; fetch the weights again")
    return module.float().eval().requires_grad_(False)
