"""Where models come from: one module for each library, by the word before the colon in `torchvision:resnet50`.

Names are checked and resolved without importing torch, which takes seconds; a misspelt model should not.

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
"""By the word before the colon; `file` is for a checkpoint of ours, which has none: a path, or the name of one that ships."""


class Library(Protocol):
    """The functions of a library's module. Each raises ModelError with what to do where a model can't be had."""

    def resolve(self, model: str, rest: str, task: Task) -> ModelName:
        """The complete name behind `model`, of which `rest` is what follows the colon. Imports no torch, loads no weights."""
        ...

    def load(self, name: ModelName, task: Task) -> PictureModel:
        """The network with its weights and facts, for any task but `embed`."""
        ...

    def encoder(self, name: ModelName, layer: str | None, pooling: Pooling) -> tuple[nn.Module, Preprocess]:
        """The network up to its features, for `models/backbones.py`; with its weights.

        A module that computes right in some precisions alone names them as its attribute `precisions`.
        """
        ...

    def licence(self, name: ModelName) -> str | None:
        """The licence of the weights, as who published them states it; None where that is not known."""
        ...


def library(name: str) -> Library:
    """The module of a library; KeyError where there is none of this name."""
    return cast("Library", import_module(LIBRARIES[name]))


def resolve(model: str, task: Task = "embed") -> ModelName:
    """The complete name behind what a user wrote; ModelError with the nearest names when there is none."""
    named, colon, rest = model.partition(":")
    if colon and named in LIBRARIES and named != "file":
        return library(named).resolve(model, rest, task)
    return library("file").resolve(model, model, task)


def load_model(name: ModelName, task: Task) -> PictureModel:
    """Load a resolved model for one task. Published weights are fetched on first use and kept by their library's cache."""
    module = library(name.library)
    return module.load(name, task).licensed(module.licence(name))
