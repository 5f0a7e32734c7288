"""The contract of training recipes: each file defines sample, batch, loss, schedule and metrics of one recipe.

A recipe works on bytes, arrays and tensors. It does not depend on the location of files, the number of machines or interruptions:
`pipelines/training/worker.py` gives it the same samples in the same order with the same random numbers each time.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
from pydantic import ConfigDict, Field, JsonValue, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.optim import Optimizer

from pixelmill.workers.ct.slice_facts import SliceFacts
from pixelmill.workers.models.card import SquareInput
from pixelmill.workers.models.picture_model import Classes
from pixelmill.workers.networks.vgg import LoadReport
from pixelmill.workers.recipes.optimizers import OptimizerSettings
from pixelmill.workers.recipes.schedules import ScheduleSettings

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")

Facts = Mapping[str, JsonValue]
"""The facts that a recipe found in the training data, as stored with the checkpoints."""

Sample = dict[str, np.ndarray]
"""The decoded data of one input: small arrays by name, pixels as uint8 HWC."""

Scores = dict[str, np.ndarray]
"""What a network made of held-out samples, by name. The first axis counts rows: one a sample, or one a call of `scores` for
what is summed over samples, such as a confusion matrix (1KK). So the scores of two parts are joined along it."""

Batch = dict[str, Tensor]
"""The input of `losses`: tensors by name, whose first axis is the batch."""

RoleKind = Literal["picture", "class", "class map", "depth map", "volume", "hu", "ct label"]
"""The content of a role's bytes: a picture; the text of an integer; a picture of class ids; of distances; a CT series; a slice
of CT, in Hounsfield units or windowed; the mask of a structure or the text of a class."""


@dataclass(frozen=True)
class Role:
    """One part of a sample; `name` is its key in the files that `decode` gets.

    A recipe does not depend on the folders of a data set: pipelines/training/layouts finds files by their roles. Files that
    belong to every sample have their own names: `classes` (the names of classes as JSON, or classes.json), `calibration`
    (calib.json).
    """

    name: str
    kind: RoleKind
    is_needed: bool = True


PICTURES = (Role("image", "picture"), Role("label", "class", is_needed=False))
"""The roles of a recipe that learns from pictures alone; labels, if there are any, are used for evaluation only."""


class RecipeSettings(OptimizerSettings, ScheduleSettings):
    """Settings that every recipe has; a recipe's own settings add to them, with the paper's values as defaults.

    `batch` counts the pictures of one optimiser step over all workers and all `accumulate` passes. `steps` overrides
    `epochs`. `patience` ends a training after so many evaluations without an improvement.
    `ema_decay` averages the weights over the steps, 0.999 over the last thousand or so; the average is evaluated and published.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: PositiveFloat = 1
    steps: PositiveInt | None = None
    batch: PositiveInt = 16
    accumulate: PositiveInt = 1
    max_gradient_norm: PositiveFloat | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    evaluate_every_steps: PositiveInt | None = None
    evaluate_samples: PositiveInt | None = None
    patience: PositiveInt | None = None
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0


class Recipe(Protocol):
    """One way to train. Built on the worker as `RecipeType(settings, assets)`.

    `assets` are the local files that settings named in `ASSETS` refer to (weights of a loss network, a painting), by the
    name of the setting; a setting that the user left out has no entry.

    A recipe may also follow `ChecksSamples`, `NotesSamples`, `ChoosesSlices`, `AugmentsOnDevice`, `FindsFacts`,
    `FinishesNetwork`, `ClipsGradients`, `HasBaselines`, `StatesInput`, `StatesClasses` and `StatesStart`.
    """

    NAME: ClassVar[str]
    NETWORK: ClassVar[str]
    """The name of the trained network in `pixelmill.workers.networks.registry.NETWORKS`."""
    ROLES: ClassVar[tuple[Role, ...]]
    """The parts of a sample."""
    ASSETS: ClassVar[tuple[str, ...]]
    JUDGED_WITH: ClassVar[tuple[str, ...]]
    """The names in ASSETS that `scores` needs too."""
    GOAL: ClassVar[tuple[str, Literal["min", "max"]]]
    """The metric that selects the best checkpoint."""
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
        """The sample in the files of one input; DataError, without the name of the file, if they hold none."""
        ...

    def batch(self, samples: Sequence[Sample], random: np.random.Generator) -> Batch:
        """Augment and stack. Draws equally many numbers from `random` for every sample, so results do not depend on the batch."""
        ...

    def optimizer(self, network: nn.Module) -> Optimizer: ...

    def rate(self, step: int, steps: int) -> float:
        """The factor of the optimizer's learning rates at this step of so many."""
        ...

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Scalars, means over the batch; the one named "loss" is minimised, the others are logged."""
        ...

    def scores(self, network: nn.Module, samples: Iterable[Sample]) -> Scores:
        """Score a network in eval mode, in inference mode, on consecutive held-out samples; none have no scores.

        A sample's scores depend on the sample alone, up to rounding, so that several processes can score a part each. They
        are small: no pictures, and a bound on what grows with the samples.
        """
        ...

    def metrics(self, scores: Scores) -> dict[str, float]:
        """The metrics of all held-out samples, from their scores in order; DataError if there are none."""
        ...

    def pictures(self, network: nn.Module, samples: Sequence[Sample]) -> Tensor:
        """A picture, uint8 CHW, that shows the network's output for a few held-out samples."""
        ...


@runtime_checkable
class ChecksSamples(Protocol):
    """A recipe that detects, before the training starts, errors that would end it later."""

    def check(self, samples: Sequence[Sample], together: int) -> None:
        """Called on torch's device "meta" with a few samples, of which `together` pass through the network at once."""
        ...


@runtime_checkable
class ChoosesSlices(Protocol):
    """A recipe that trains on some of the slices of CT only: so far apart, or of so many patients."""

    def chosen(self, slices: SliceFacts, labels: np.ndarray | None) -> np.ndarray:
        """Indices of the training samples that it uses, in order. DataError where none is left."""
        ...


@runtime_checkable
class AugmentsOnDevice(Protocol):
    """A recipe whose `batch` is `augmented(drawn(samples, random))`: a GPU gets bytes and makes floats of them itself.

    All draws are made in `drawn`, so that every device makes the same batches, within its rounding.
    """

    def drawn(self, samples: Sequence[Sample], random: np.random.Generator) -> Batch:
        """Cut pixels in 8 bits, and the numbers that `augmented` needs, sample by sample."""
        ...

    def augmented(self, batch: Batch) -> Batch:
        """The input of `losses`, on the device of `batch`; waits for no result of the device."""
        ...


@runtime_checkable
class NotesSamples(Protocol):
    """A recipe that says what it takes for granted about a few samples, a line for each assumption."""

    def notes(self, samples: Sequence[Sample]) -> list[str]: ...


@runtime_checkable
class FindsFacts(Protocol):
    """A recipe that takes facts from the training data; they are found once and stored with the checkpoints."""

    def prepare(self, samples: Iterable[Sample]) -> Facts:
        """The facts of all training samples, before `network`."""
        ...

    def restore(self, prepared: Facts) -> None:
        """Restore the facts that `prepare` found, in this run or in the run that is resumed."""
        ...


@runtime_checkable
class FinishesNetwork(Protocol):
    """A recipe that updates the network before each evaluation, such as statistics of batch normalisation."""

    def finish(self, network: nn.Module, samples: Iterable[Sample]) -> None: ...


@runtime_checkable
class ClipsGradients(Protocol):
    """A recipe with its own limit of gradients, applied after the backward pass."""

    def clip(self, network: nn.Module, learning_rate: float) -> None: ...


@runtime_checkable
class HasBaselines(Protocol):
    """A recipe whose metrics say little without those of results that no network made."""

    def baselines(self, samples: Iterable[Sample]) -> dict[str, dict[str, float]]:
        """The metrics of each of them, by its description. The samples are iterated more than once."""
        ...


@runtime_checkable
class StatesInput(Protocol):
    """A recipe whose card is enough for a bulk stage to preprocess pictures for its network."""

    def preprocess(self) -> SquareInput | None: ...


@runtime_checkable
class StatesClasses(Protocol):
    """A recipe whose network predicts classes; asked once its facts are found."""

    def classes(self) -> Classes | None:
        """The classes; None if the data does not name them."""
        ...


@runtime_checkable
class StatesStart(Protocol):
    """A recipe that begins with weights that its settings name."""

    report: LoadReport | None
    """What matched, once the network is built; None for random weights."""

    @property
    def start(self) -> dict[str, JsonValue] | None:
        """The facts about them for the card, once the network is built; None for random weights."""
        ...


class Configured(Protocol):
    """A network that can be rebuilt from its config."""

    @property
    def config(self) -> DataclassInstance: ...


def config_from(config: type[Config], settings: RecipeSettings, **others: object) -> Config:
    """A network's config from the settings of the same names, and from `others`."""
    names = [field.name for field in fields(config) if field.name in type(settings).model_fields]  # type: ignore[arg-type]
    return config(**{name: getattr(settings, name) for name in names} | others)
