"""Small VGGs as torchvision and Keras name their tensors, and files of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers

from pixelmill.workers.networks.vgg import convolution_names

WIDTH = 4
Write = Callable[[dict[str, Tensor]], Path]


def slim_torchvision(depth: int = 16) -> nn.Sequential:
    torch.manual_seed(depth)
    layers = cfgs["D" if depth == 16 else "E"]
    features = make_layers([width if isinstance(width, str) else width * WIDTH // 64 for width in layers])
    for parameter in features.parameters():  # or biases would be too small to be missed
        nn.init.normal_(parameter, std=0.3)
    return features


def torchvision_state(depth: int = 16) -> dict[str, Tensor]:
    return {f"features.{name}": tensor for name, tensor in slim_torchvision(depth).state_dict().items()}


def caffe_state(depth: int = 16) -> dict[str, Tensor]:
    convolutions = [layer for layer in slim_torchvision(depth) if isinstance(layer, nn.Conv2d)]
    state: dict[str, Tensor] = {}
    for name, layer in zip(convolution_names(depth), convolutions, strict=True):
        block, number = name.removeprefix("conv").split("_")
        state[f"block{block}_conv{number}.weight"] = layer.weight.detach()
        state[f"block{block}_conv{number}.bias"] = torch.as_tensor(layer.bias).detach()
    return state


def writing(folder: Path) -> Write:
    """A function that saves tensors as a file below `folder`."""

    def write(state: dict[str, Tensor]) -> Path:
        path = folder / "weights.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
        return path

    return write
