"""What each network of ours can do in a stage: from a loaded checkpoint to a `PictureModel`, one file for each family.

To give a network a task: write a function that takes a `Checkpoint` and returns its `PictureModel`, and add a line to `ADAPTERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from pixelmill.workers.models.loaded_checkpoint import Checkpoint
from pixelmill.workers.models.tasks import Task

if TYPE_CHECKING:
    from pixelmill.workers.models.picture_model import PictureModel

ADAPTERS: dict[tuple[str, Task], str] = {
    ("autoencoder", "encode"): "pixelmill.workers.models.adapters.autoencoders:encode",
    ("autoencoder", "reconstruct"): "pixelmill.workers.models.adapters.autoencoders:reconstruct",
    ("vae", "encode"): "pixelmill.workers.models.adapters.autoencoders:encode",
    ("vae", "reconstruct"): "pixelmill.workers.models.adapters.autoencoders:reconstruct",
    ("monodepth", "depth"): "pixelmill.workers.models.adapters.depth:depth",
    ("faststyle", "stylize"): "pixelmill.workers.models.adapters.style:stylize",
    ("crn", "synthesize"): "pixelmill.workers.models.adapters.synthesis:synthesize",
}
"""By the name of the network in its card and the task: the place of a function, which is imported when it is asked for."""


def tasks_of(network: str) -> set[Task]:
    """What a network can be asked for; embedding is for `models/backbones.py` to say."""
    return {task for name, task in ADAPTERS if name == network}


def adapter(network: str, task: Task) -> Callable[[Checkpoint], PictureModel]:
    """KeyError where the network has no adapter for the task."""
    module, _, attribute = ADAPTERS[network, task].partition(":")
    return getattr(import_module(module), attribute)
