"""What each network of ours can do in a stage: from a loaded checkpoint to a `PictureModel`, one file for each family.

To give a network a task: write a function that takes a `Checkpoint` and returns its `PictureModel`, and add a line to `ADAPTERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from pixelmill.workers.models.tasks import Task

if TYPE_CHECKING:
    from torch import nn

    from pixelmill.workers.models.card import Card
    from pixelmill.workers.models.picture_model import PictureModel

ADAPTERS: dict[tuple[str, Task], str] = {
    ("faststyle", "stylize"): "pixelmill.workers.models.adapters.style:stylize",
    ("crn", "synthesize"): "pixelmill.workers.models.adapters.synthesis:synthesize",
}
"""By the name of the network in its card and the task: the place of a function, which is imported when it is asked for."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was loaded: the network in eval mode, its card, and what it is called."""

    name: str
    module: nn.Module
    card: Card
    weights_sha256: str


def tasks_of(network: str) -> set[Task]:
    """What a network can be asked for; embedding is for `models/backbones.py` to say."""
    return {task for name, task in ADAPTERS if name == network}


def adapter(network: str, task: Task) -> Callable[[Checkpoint], PictureModel]:
    """KeyError where the network has no adapter for the task."""
    module, _, attribute = ADAPTERS[network, task].partition(":")
    return getattr(import_module(module), attribute)
