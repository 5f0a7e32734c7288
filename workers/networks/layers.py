"""The layers of a network from its input to its output, for learning rates that fall from layer to layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, cast, runtime_checkable

from torch import nn

Layer = tuple[str, ...]
"""The names of the modules of one layer."""


@runtime_checkable
class Layered(Protocol):
    """A network whose modules are not registered in the order in which a picture passes them."""

    def rate_layers(self) -> list[Layer]:
        """From the input to the output; every parameter belongs to one of them."""
        ...


def layers_of(network: nn.Module) -> list[Layer]:
    """The layers that have parameters. By default each module with weights is one, in the order of registration; a
    normalisation belongs to the layer before it."""
    layers = network.rate_layers() if isinstance(network, Layered) else _registered(network)
    names = [name for name, _ in network.named_parameters()]
    return [layer for layer in layers if any(_is_below(name, layer) for name in names)]


def depths_of(network: nn.Module) -> dict[str, int]:
    """The number of each parameter's layer, from 0 at the input, by the parameter's name."""
    layers = layers_of(network)
    return {
        name: next(depth for depth, layer in enumerate(layers) if _is_below(name, layer))
        for name, _ in network.named_parameters()
    }


def below(prefix: str, layers: list[Layer]) -> list[Layer]:
    """The layers of a part of a network, by their names in the whole."""
    return [tuple(f"{prefix}.{name}" if name else prefix for name in layer) for layer in layers]


def _is_below(name: str, layer: Layer) -> bool:
    return any(name.startswith(f"{module}.") or (not module and "." not in name) for module in layer)


def _registered(network: nn.Module) -> list[Layer]:
    layers: list[Layer] = []
    for name, parameters in _own_parameters(network):
        if layers and max(parameter.ndim for parameter in parameters) < 2:
            layers[-1] = (*layers[-1], name)
        else:
            layers.append((name,))
    return layers


def _own_parameters(network: nn.Module) -> Iterator[tuple[str, list[nn.Parameter]]]:
    for name, module in cast("Iterator[tuple[str, nn.Module]]", network.named_modules()):
        if parameters := list(module.parameters(recurse=False)):
            yield name, parameters
