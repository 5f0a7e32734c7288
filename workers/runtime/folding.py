"""Fold each BatchNorm into the convolution before it, if the output stays the same."""

from __future__ import annotations

from collections import Counter

from torch import nn
from torch.fx import symbolic_trace
from torch.fx.experimental.optimization import fuse
from torch.nn.modules import batchnorm, conv

_NORMS = batchnorm.BatchNorm1d, batchnorm.BatchNorm2d, batchnorm.BatchNorm3d
_CONVOLUTIONS = (
    *(conv.Conv1d, conv.Conv2d, conv.Conv3d),
    *(conv.ConvTranspose1d, conv.ConvTranspose2d, conv.ConvTranspose3d),
)


def folded(network: nn.Module) -> nn.Module:
    """The same network with each BatchNorm folded; unchanged if fx can't trace it."""
    if not any(isinstance(module, _NORMS) for module in network.modules()):
        return network
    try:
        return network if _shares_convolutions(network) else fuse(network)
    except Exception:  # fx raises a different error for every construct that it can't trace
        return network


def _shares_convolutions(network: nn.Module) -> bool:
    """Whether a convolution is called twice: `fuse` would fold into it every BatchNorm that follows one of the calls."""
    calls = Counter(node.target for node in symbolic_trace(network).graph.nodes if node.op == "call_module")
    return any(
        count > 1 and isinstance(network.get_submodule(str(name)), _CONVOLUTIONS) for name, count in calls.items()
    )
