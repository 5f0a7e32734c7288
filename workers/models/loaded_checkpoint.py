"""A loaded checkpoint, the input of adapters. Imports no torch, so that planning can read the list of adapters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from pixelmill.workers.models.card import Card


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint: the network in eval mode, its card and its name."""

    name: str
    module: nn.Module
    card: Card
    weights_sha256: str
