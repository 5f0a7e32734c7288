"""Adapt our networks to stages: from a loaded checkpoint to a `PictureModel`, one file for each family of networks.

To give a network a task: write a function that takes a `Checkpoint` and returns its `PictureModel`, and add a line to `ADAPTERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    ("vdsr", "upscale"): "pixelmill.workers.models.adapters.super_resolution:upscale",
    ("segnet", "segment"): "pixelmill.workers.models.adapters.segmentation:segnet",
    ("fcn", "segment"): "pixelmill.workers.models.adapters.segmentation:fcn",
    ("unet", "segment"): "pixelmill.workers.models.adapters.segmentation:unet",
    ("finetuned dense", "segment"): "pixelmill.workers.models.adapters.segmentation:finetuned",
    ("finetuned classifier", "classify"): "pixelmill.workers.models.adapters.classification:finetuned",
    ("ct-autoencoder", "reconstruct"): "pixelmill.workers.models.adapters.ct:reconstruct",
    ("ct-finetuned segment", "segment"): "pixelmill.workers.models.adapters.ct:segment",
    ("ct-finetuned classify", "classify"): "pixelmill.workers.models.adapters.ct:classify",
    ("faststyle", "stylize"): "pixelmill.workers.models.adapters.style:stylize",
    ("crn", "synthesize"): "pixelmill.workers.models.adapters.synthesis:synthesize",
}
"""Import path of a function, by the kind of network (see `kind_of`) and the task; it is imported on first use."""

HEADED = {"finetuned": "classifier", "ct-finetuned": "segment"}
"""Networks that have one of several heads, and the head of a card that names none."""


def kind_of(network: str, config: Mapping[str, object]) -> str:
    """The key in `ADAPTERS` for the network of a card: its name, with the head of a fine-tuned one, which decides its task."""
    default = HEADED.get(network)
    return network if default is None else f"{network} {config.get('head', default)}"


def tasks_of(network: str) -> set[Task]:
    """The tasks of a kind of network; `models/backbones.py` decides about embedding."""
    return {task for name, task in ADAPTERS if name == network}


def adapter(network: str, task: Task) -> Callable[[Checkpoint], PictureModel]:
    """KeyError if the network has no adapter for the task."""
    module, _, attribute = ADAPTERS[network, task].partition(":")
    return getattr(import_module(module), attribute)
