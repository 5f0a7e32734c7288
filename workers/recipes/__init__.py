"""What a training recipe is: what a sample and a batch are, the loss, the schedule, the metrics; one per file.

A recipe sees bytes, arrays and tensors. It does not know where the files are, how many machines train, or when a run was
interrupted: `pipelines/training/worker.py` gives it the same samples in the same order with the same random numbers each time.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.optim import Optimizer

from pixelmill.workers.models.card import SquareInput
from pixelmill.workers.models.picture_model import Classes

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")

Facts = Mapping[str, JsonValue]
"""What a recipe found in the training data, as it is kept with the checkpoints."""

Sample = dict[str, np.ndarray]
"""What is kept of one input: small arrays by name, pixels as uint8 HWC."""

Batch = dict[str, Tensor]
"""What `losses` takes: tensors by name, the first axis is the batch."""

RoleKind = Literal["picture", "class", "class map", "depth map", "volume"]
"""What the bytes of a role are: a picture; the text of an integer; a picture of class ids; of distances; a CT series."""


@dataclass(frozen=True)
class Role:
    """One of the things that a sample is made of; `name` is its key in the files that `decode` is given.

    How the files of a data set lie is none of a recipe's business: pipelines/training/layouts finds them by their roles.
    Files that belong to every sample come along under names of their own: `classes` (the names of classes as JSON, or
    classes.json), `calibration` (calib.json).
    """

    name: str
    kind: RoleKind
    is_needed: bool = True


PICTURES = (Role("image", "picture"), Role("label", "class", is_needed=False))
"""The roles of a recipe that learns from pictures alone; labels, where there are some, are for its judgement."""


class RecipeSettings(BaseModel):
    """Settings that every recipe has; a recipe's own settings add to them, with the paper's values as defaults.

    `batch` counts the pictures of one optimiser step over all workers and all `accumulate` passes. `steps` overrides
    `epochs`. `patience` ends a training after so many evaluations without a better one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: PositiveFloat = 1
    steps: PositiveInt | None = None
    batch: PositiveInt = 16
    accumulate: PositiveInt = 1
    learning_rate: PositiveFloat = 1e-3
    max_gradient_norm: PositiveFloat | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    evaluate_every_steps: PositiveInt | None = None
    evaluate_samples: PositiveInt | None = None
    patience: PositiveInt | None = None
    seed: Annotated[int, Field(ge=0)] = 0


class Recipe(Protocol):
    """One way to train. Built on the worker as `RecipeType(settings, assets)`.

    `assets` are the local files that settings named in `ASSETS` refer to (weights of a loss network, a painting), by the
    name of the setting; one that the user did not give is not there.

    A recipe may also follow `ChecksSamples`, `FindsFacts`, `FinishesNetwork`, `ClipsGradients`, `StatesInput` and
    `StatesClasses`.
    """

    NAME: ClassVar[str]
    NETWORK: ClassVar[str]
    """The name in `pixelmill.workers.networks.registry.NETWORKS` of what is trained."""
    ROLES: ClassVar[tuple[Role, ...]]
    """What a sample is made of."""
    ASSETS: ClassVar[tuple[str, ...]]
    JUDGED_WITH: ClassVar[tuple[str, ...]]
    """Those of ASSETS that `evaluate` needs too."""
    GOAL: ClassVar[tuple[str, Literal["min", "max"]]]
    """The metric that says which checkpoint is the best."""
    Settings: ClassVar[type[RecipeSettings]]

    def __init__(self, settings: RecipeSettings, assets: Mapping[str, Path]) -> None: ...

    @property
    def settings(self) -> RecipeSettings: ...

    def network(self) -> nn.Module:
        """A new network with its initial weights, from torch's global generator, which the caller has seeded.

        It follows `Configured`.
        """
        ...

    def decode(self, files: Mapping[str, bytes]) -> Sample:
        """The sample that one input's files hold; DataError, without the name of the file, where they hold none."""
        ...

    def batch(self, samples: Sequence[Sample], random: np.random.Generator) -> Batch:
        """Augment and stack. Draws the same from `random` for each sample, whatever the batch it is in."""
        ...

    def optimizer(self, network: nn.Module) -> Optimizer: ...

    def rate(self, step: int, steps: int) -> float:
        """What the learning rates of the optimizer are multiplied with at this step of so many."""
        ...

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Scalars, means over the batch; the one named "loss" is descended, the others are logged."""
        ...

    def evaluate(self, network: nn.Module, samples: Iterable[Sample]) -> dict[str, float]:
        """Metrics of a network in eval mode, in inference mode, over held-out samples in a fixed order."""
        ...

    def pictures(self, network: nn.Module, samples: Sequence[Sample]) -> Tensor:
        """A picture, uint8 CHW, that shows a person what the network makes of a few held-out samples."""
        ...


@runtime_checkable
class ChecksSamples(Protocol):
    """A recipe that finds, before anything is started, what would end the training later."""

    def check(self, samples: Sequence[Sample], together: int) -> None:
        """Called with torch's device "meta" and a few samples, of which `together` go through the network at once."""
        ...


@runtime_checkable
class FindsFacts(Protocol):
    """A recipe that takes facts from the training data; they are found once and kept with the checkpoints."""

    def prepare(self, samples: Iterable[Sample]) -> Facts:
        """The facts of all training samples, before `network`."""
        ...

    def restore(self, prepared: Facts) -> None:
        """Take what `prepare` found, in this run or in one that is resumed."""
        ...


@runtime_checkable
class FinishesNetwork(Protocol):
    """A recipe that changes the network before each evaluation, as with statistics of batch normalisation."""

    def finish(self, network: nn.Module, samples: Iterable[Sample]) -> None: ...


@runtime_checkable
class ClipsGradients(Protocol):
    """A recipe that limits gradients in a way of its own, after the backward pass."""

    def clip(self, network: nn.Module, learning_rate: float) -> None: ...


@runtime_checkable
class StatesInput(Protocol):
    """A recipe whose network a bulk stage can feed by the card alone."""

    def preprocess(self) -> SquareInput | None: ...


@runtime_checkable
class StatesClasses(Protocol):
    """A recipe whose network tells classes apart; asked once its facts are found."""

    def classes(self) -> Classes | None:
        """None where the data does not name them."""
        ...


class Configured(Protocol):
    """A network that its config rebuilds."""

    @property
    def config(self) -> DataclassInstance: ...


def config_from(config: type[Config], settings: RecipeSettings, **others: object) -> Config:
    """A network's config from the settings of the same names, and from `others`."""
    names = [field.name for field in fields(config) if field.name in type(settings).model_fields]  # type: ignore[arg-type]
    return config(**{name: getattr(settings, name) for name in names} | others)


def half_cosine(step: int, steps: int) -> float:
    """A factor that falls from 1 at the first step to 0 after the last."""
    return 0.5 + 0.5 * math.cos(math.pi * step / steps)
