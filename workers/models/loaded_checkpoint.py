"""A checkpoint of ours in memory, as adapters take it. Imports no torch, so that planning may read the list of adapters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from pixelmill.workers.models.card import Card


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was loaded: the network in eval mode, its card, and what it is called."""

    name: str
    module: nn.Module
    card: Card
    weights_sha256: str
