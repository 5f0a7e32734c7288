"""The state of the widespread PyTorch port of VDSR as a network of ours: the proof that metrics are those of the paper."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pixelmill.workers.networks.vdsr import Vdsr, VdsrConfig


def of_port(tensors: Mapping[str, Tensor]) -> Vdsr:
    """From `input`, `residual_layer.N.conv` and `output`, which have no biases; ours are 0. KeyError for another state."""
    between = [f"residual_layer.{number}.conv.weight" for number in range(len(tensors) - 2)]
    names = ["input.weight", *between, "output.weight"]
    network = Vdsr(VdsrConfig(len(names), tensors[names[0]].shape[0]))
    state = {f"convolutions.{number}.weight": tensors[name] for number, name in enumerate(names)}
    biases = {name: torch.zeros_like(value) for name, value in network.state_dict().items() if name.endswith("bias")}
    network.load_state_dict(state | biases)
    return network.eval()
