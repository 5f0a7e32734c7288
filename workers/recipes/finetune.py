"""Fine-tune the encoder of a checkpoint: to classify pictures (`finetune`) or pixels (`finetune-dense`).

For a baseline with the same settings, `scratch: true` starts the same encoder from random weights. `frozen` leaves the encoder
unchanged and trains the head alone.

Legend: B batch, C channels, K classes, H height, W width, S side of a square input.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import JsonValue, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from pixelmill.workers.errors import DataError, ModelError
from pixelmill.workers.geometry.mirroring import mirrored
from pixelmill.workers.models.card import Card, SquareInput, read_card
from pixelmill.workers.models.checkpoint import config_of, load_checkpoint
from pixelmill.workers.models.picture_model import Classes
from pixelmill.workers.models.weight_files import sha256_of
from pixelmill.workers.networks.finetuned import ENCODERS, Finetuned, FinetunedConfig, load_encoder, trained_part
from pixelmill.workers.networks.vgg import LoadReport
from pixelmill.workers.recipes import Batch, RecipeSettings, Role, Sample, Scores, squares
from pixelmill.workers.recipes.optimizers import OptimizerName, ParameterShare, optimizer_of
from pixelmill.workers.recipes.schedules import ScheduleName, Share, rate_at
from pixelmill.workers.recipes.scoring import joined, means, rows_of
from pixelmill.workers.recipes.segmentation.recipe import LabelledRecipe
from pixelmill.workers.recipes.segmentation.settings import LabelledSettings

EVALUATION_BATCH = 64
FINETUNED = "finetuned"


class _Arm(RecipeSettings):
    optimizer: OptimizerName = "adamw"
    schedule: ScheduleName = "cosine"
    warmup_share: Share = 0.05
    checkpoint: str
    scratch: bool = False
    frozen: bool = False
    encoder_rate: PositiveFloat = 1.0


class FinetuneSettings(_Arm):
    """`checkpoint` holds the encoder, `encoder_rate` is its share of the learning rate; pictures are S x S squares, with as
    many `channels` as the encoder takes.

    `classes` is the number of classes if the data does not state it, `class_names` the names of their folders in order.
    """

    epochs: PositiveFloat = 20
    batch: PositiveInt = 32
    learning_rate: PositiveFloat = 1e-3
    weight_decay: NonNegativeFloat = 1e-2
    classes: PositiveInt | None = None
    class_names: tuple[str, ...] | None = None
    size_px: PositiveInt = 64
    channels: Literal[1, 3] = 3
    flip: bool = True


def _encoder_in(card: Card) -> tuple[str, dict[str, Any]]:
    """The network whose encoder a checkpoint has, and its config."""
    config: dict[str, Any] = dict(card.config)
    return (config["encoder"], config["encoder_config"]) if card.network == FINETUNED else (card.network, config)


class Taken(NamedTuple):
    """A network with the encoder of a checkpoint, and what matched; None for random weights."""

    network: Finetuned
    report: LoadReport | None
    start: dict[str, JsonValue] | None


def taken_from(
    assets: Mapping[str, Path], settings: Any, head: Literal["classifier", "dense"], classes: int, **options: int
) -> Taken:
    """The encoder of `settings.checkpoint`, which may be a fine-tuned one, under a new head; its weights are loaded unless
    `scratch` is set."""
    path = assets.get("checkpoint", Path(settings.checkpoint))
    card = read_card(path)
    config_of(path, card)
    is_finetuned = card.network == FINETUNED
    name, config = _encoder_in(card)
    if name not in ENCODERS:
        raise ModelError(f"{path}: holds the network {name}, which has no encoder; choose one of {', '.join(ENCODERS)}")
    network = Finetuned(FinetunedConfig(name, config, head, classes, frozen=settings.frozen, **options))
    if settings.scratch:
        return Taken(network, None, None)
    weights = load_checkpoint(path)[0].state_dict()
    if is_finetuned:
        weights = {key.removeprefix("encoder."): each for key, each in weights.items() if key.startswith("encoder.")}
    report = load_encoder(network, weights, PurePosixPath(str(settings.checkpoint).rstrip("/")).name)
    return Taken(network, report, {**report.facts(), "network": card.network, "sha256": sha256_of(path)})


def refuse_misfit(network: nn.Module, name: str, channels: int, size_px: Sequence[int]) -> None:
    """ModelError if the network does not accept pictures of this size; both may be on the meta device."""
    shape = (1, channels, *size_px)
    try:
        network.eval()(torch.zeros(shape))
    except RuntimeError as error:
        fact = str(error).partition("\n")[0]
        raise ModelError(
            f"{name}: its encoder does not take pictures of {'x'.join(map(str, shape[1:]))} ({fact}); "
            "give them as many channels as it was trained with, and no smaller than its card says"
        ) from error


def optimizer_over(network: nn.Module, settings: _Arm) -> torch.optim.Optimizer:
    """The encoder, where it is trained, has its share of the learning rate."""
    assert isinstance(network, Finetuned)
    encoder = {id(parameter) for parameter in network.encoder.parameters()}
    trained = list(trained_part(network))
    head = ParameterShare([parameter for parameter in trained if id(parameter) not in encoder])
    rest = ParameterShare([parameter for parameter in trained if id(parameter) in encoder], settings.encoder_rate)
    return optimizer_of(settings, network, [head, rest])


class FinetuneRecipe:
    """Pictures to one of K classes; a sample is {"pixels": uint8 SSC, "label"}, a batch {"images": BCSS, "labels": B}."""

    NAME: ClassVar[str] = "finetune"
    NETWORK: ClassVar[str] = "finetuned"
    ROLES: ClassVar[tuple[Role, ...]] = (Role("image", "picture"), Role("label", "class"))
    ASSETS: ClassVar[tuple[str, ...]] = ("checkpoint",)
    JUDGED_WITH: ClassVar[tuple[str, ...]] = ()
    GOAL: ClassVar[tuple[str, Literal["min", "max"]]] = ("accuracy", "max")
    Settings: ClassVar[type[RecipeSettings]] = FinetuneSettings

    def __init__(self, settings: FinetuneSettings, assets: Mapping[str, Path]) -> None:
        self.settings, self.assets = settings, assets
        self.report: LoadReport | None = None
        self.start: dict[str, JsonValue] | None = None
        self._classes: int | None = settings.classes
        self._names = settings.class_names

    def check(self, samples: Sequence[Sample], together: int) -> None:
        """Check before a training that the checkpoint has an encoder for such pictures."""
        if self._names is None and samples and "classes" in samples[0]:
            self._names = tuple(json.loads(samples[0]["classes"].tobytes()))
        self._classes = self.settings.classes or len(self._names or ()) or 2
        side = self.settings.size_px
        refuse_misfit(self.network(), self.settings.checkpoint, self.settings.channels, (side, side))

    def prepare(self, samples: Iterable[Sample]) -> dict[str, Any]:
        """The number of classes, which is set, or that of the names, or the largest label plus one; and their names."""
        count, most, names = 0, 0, None
        for sample in samples:
            count, most = count + 1, max(most, int(sample["label"]))
            names = sample.get("classes", names)
        listed = None if names is None else json.loads(names.tobytes())
        if self.settings.classes is None and most >= count:
            raise DataError(f"a label is {most} among {count:,} pictures; number classes from 0, or set classes")
        return {"classes": self.settings.classes or max(most + 1, len(listed or [])), "class_names": listed}

    def restore(self, prepared: Mapping[str, Any]) -> None:
        self._classes = prepared["classes"]
        self._names = tuple(prepared.get("class_names") or self.settings.class_names or ())

    def classes(self) -> Classes | None:
        """The folders or names of the labels; None if they are numbers."""
        return Classes(self._names) if self._names and len(self._names) == self._classes else None

    def preprocess(self) -> SquareInput:
        channels = self.settings.channels
        return SquareInput(size_px=self.settings.size_px, mean=(0.0,) * channels, std=(1.0,) * channels)

    def network(self) -> nn.Module:
        if self._classes is None:
            raise ModelError("finetune: how many classes there are is not known; set classes")
        network, self.report, self.start = taken_from(self.assets, self.settings, "classifier", self._classes)
        return network

    def decode(self, files: Mapping[str, bytes]) -> Sample:
        if "label" not in files:
            raise DataError(
                "the picture has no label; put pictures into a folder for each class, or use a column label"
            )
        sample = squares.decode(files, self.settings.channels, squares.central(self.settings.size_px))
        classes = self.settings.classes
        if sample["label"] < 0 or (classes is not None and sample["label"] >= classes):
            there = "they begin at 0" if classes is None else f"there are only 0 to {classes - 1}"
            raise DataError(f"its label is {sample['label']}, but {there}; correct the label, or set classes")
        return sample | ({"classes": np.frombuffer(files["classes"], np.uint8)} if "classes" in files else {})

    def batch(self, samples: Sequence[Sample], random: np.random.Generator) -> Batch:
        turned = [random.random() < 0.5 for _ in samples]
        images = [
            mirrored(sample["pixels"]) if self.settings.flip and is_turned else sample["pixels"]
            for sample, is_turned in zip(samples, turned, strict=True)
        ]
        labels = torch.tensor([int(sample["label"]) for sample in samples])
        return {"images": squares.to_floats(np.stack(images)), "labels": labels}

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        return optimizer_over(network, self.settings)

    def rate(self, step: int, steps: int) -> float:
        return rate_at(self.settings, step, steps)

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        logits_BK = network(batch["images"]).float()
        correct = (logits_BK.argmax(1) == batch["labels"]).float().mean()
        return {"loss": F.cross_entropy(logits_BK, batch["labels"]), "accuracy": correct}

    def scores(self, network: nn.Module, samples: Iterable[Sample]) -> Scores:
        """`labels`, `correct` (0 or 1) and `cross_entropy` of each picture: N each."""
        device = next(network.parameters()).device

        def scored(chunk: list[Sample]) -> Scores:
            images_BCSS = squares.to_floats(np.stack([sample["pixels"] for sample in chunk]))
            logits_BK = network(images_BCSS.to(device)).float().cpu()
            labels_B = torch.tensor([int(sample["label"]) for sample in chunk])
            if (most := int(labels_B.max())) >= logits_BK.shape[1]:
                raise DataError(
                    f"the label {most} is there to judge by, and the network was trained on 0 to "
                    f"{logits_BK.shape[1] - 1}; take labels of its classes, or set classes"
                )
            return {
                "labels": labels_B.numpy(),
                "correct": (logits_BK.argmax(1) == labels_B).double().numpy(),
                "cross_entropy": rows_of(F.cross_entropy(logits_BK, labels_B, reduction="none")),
            }

        return joined(map(scored, squares.chunks(samples, EVALUATION_BATCH)))

    def metrics(self, scores: Scores) -> dict[str, float]:
        """accuracy, cross_entropy, and balanced_accuracy: the mean over classes of the share that is recognised."""
        found = means(scores)
        labels_N, correct_N = scores["labels"], scores["correct"]
        recalls = [float(correct_N[labels_N == label].mean()) for label in np.unique(labels_N)]
        return {
            "accuracy": found["correct"],
            "balanced_accuracy": float(np.mean(recalls)),
            "cross_entropy": found["cross_entropy"],
        }

    def pictures(self, network: nn.Module, samples: Sequence[Sample]) -> Tensor:
        """The pictures in rows by the class that the network predicts."""
        device = next(network.parameters()).device
        images_BCSS = squares.to_floats(np.stack([sample["pixels"] for sample in samples]))
        order = network(images_BCSS.to(device)).argmax(1).cpu().argsort(stable=True)
        return squares.in_rows(images_BCSS[order])


class DenseSettings(_Arm, LabelledSettings):
    """`checkpoint` holds the encoder; the new decoder's levels have `head_width` channels."""

    epochs: PositiveFloat = 20
    batch: PositiveInt = 8
    learning_rate: PositiveFloat = 1e-3
    weight_decay: NonNegativeFloat = 5e-4
    head_width: PositiveInt = 32


class DenseRecipe(LabelledRecipe[DenseSettings]):
    """Semantic segmentation with a new decoder over the encoder's levels."""

    NAME: ClassVar[str] = "finetune-dense"
    NETWORK: ClassVar[str] = "finetuned"
    ASSETS: ClassVar[tuple[str, ...]] = ("checkpoint",)
    Settings: ClassVar[type[RecipeSettings]] = DenseSettings
    _start: dict[str, JsonValue] | None = None

    def check(self, samples: Sequence[Sample], together: int) -> None:
        super().check(samples, together)
        refuse_misfit(self.network(), self.settings.checkpoint, 3, self.settings.crop_px or samples[0]["label"].shape)

    def check_network(self) -> None:
        """Built once, in `check`."""

    @property
    def start(self) -> dict[str, JsonValue] | None:
        return self._start

    def network(self) -> nn.Module:
        width = self.settings.head_width
        network, report, self._start = taken_from(self.assets, self.settings, "dense", self.class_count, width=width)
        self.keep_report(report)
        return network

    def finish(self, network: nn.Module, samples: Iterable[Sample]) -> None:
        """As in the other recipes; nothing if the encoder is frozen, because the head has no statistics."""
        if not self.settings.frozen:
            super().finish(network, samples)

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        return optimizer_over(network, self.settings)

    def rate(self, step: int, steps: int) -> float:
        return rate_at(self.settings, step, steps)
