"""The libraries that models come from: one module for each, chosen by the prefix, as in `torchvision:resnet50`.

Names are checked and resolved without importing torch, which takes seconds, so that a misspelt name is reported at once.

To add a library: write `workers/models/libraries/NAME.py` with the functions of `Library`, and add a line to `LIBRARIES`.
Importing it must import neither torch nor the library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from pixelmill.workers.models.model_names import ModelName
from pixelmill.workers.models.tasks import Task

if TYPE_CHECKING:
    from torch import nn

    from pixelmill.workers.models.picture_model import PictureModel
    from pixelmill.workers.models.preprocess import Pooling, Preprocess

LIBRARIES: dict[str, str] = {
    "torchvision": "pixelmill.workers.models.libraries.torchvision",
    "timm": "pixelmill.workers.models.libraries.timm",
    "hf": "pixelmill.workers.models.libraries.huggingface",
    "spandrel": "pixelmill.workers.models.libraries.spandrel",
    "open_clip": "pixelmill.workers.models.libraries.open_clip",
    "onnx": "pixelmill.workers.models.libraries.onnx",
    "file": "pixelmill.workers.models.libraries.checkpoint",
}
"""By prefix; `file` is for our checkpoints, whose names have no prefix: a path, or the name of one that ships."""


class Library(Protocol):
    """The functions of a library's module. Each raises ModelError with the next step if a model is not available."""

    def resolve(self, model: str, rest: str, task: Task) -> ModelName:
        """The complete name for `model`; `rest` is its part after the colon. Imports no torch and loads no weights."""
        ...

    def load(self, name: ModelName, task: Task) -> PictureModel:
        """The network with its weights and facts, for any task but `embed`."""
        ...

    def encoder(self, name: ModelName, layer: str | None, pooling: Pooling) -> tuple[nn.Module, Preprocess]:
        """The network up to its features, with its weights, for `models/backbones.py`.

        A module that computes correctly in some precisions only lists them in its attribute `precisions`.
        """
        ...

    def licence(self, name: ModelName) -> str | None:
        """The licence of the weights, as their publisher states it; None if unknown."""
        ...


def library(name: str) -> Library:
    """The module of a library; KeyError if no library has this name."""
    return cast("Library", import_module(LIBRARIES[name]))


def resolve(model: str, task: Task = "embed") -> ModelName:
    """The complete name for the user's input; ModelError with the nearest names if there is none."""
    named, colon, rest = model.partition(":")
    if colon and named in LIBRARIES and named != "file":
        return library(named).resolve(model, rest, task)
    return library("file").resolve(model, model, task)


def load_model(name: ModelName, task: Task) -> PictureModel:
    """Load a resolved model for one task. Published weights are fetched on first use and stay in their library's cache."""
    module = library(name.library)
    return module.load(name, task).licensed(module.licence(name))
