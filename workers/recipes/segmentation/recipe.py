"""Semantic segmentation: a loss of labelled pixels, evaluated by one confusion matrix over all pictures.

Void pixels (the ignored id, and pixels that augmentation adds from outside of a picture) have no loss and no metric. The loss is
cross-entropy unless the settings name another; losses/segmentation.py says how each scales for a batch and for its parts on many
machines.

The papers' learning rates fit the scale of their own losses; the defaults here fit this loss. U-Net's elastic deformations, and
its weights for borders between cells, which need instances, are left out.

Legend: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Generic, Literal, TypeVar

import numpy as np
import torch
from pydantic import JsonValue
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import update_bn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.losses.segmentation import segmentation_losses
from pixelmill.workers.models.palette import class_colours
from pixelmill.workers.models.picture_model import Classes
from pixelmill.workers.models.vgg_names import is_published
from pixelmill.workers.models.vgg_weights import find_published, read_vgg
from pixelmill.workers.networks.vgg import ConventionName, LoadReport, VggWeights
from pixelmill.workers.prediction.averaging import mean_shares
from pixelmill.workers.recipes import Batch, Role, Sample, Scores
from pixelmill.workers.recipes.optimizers import ParameterShare, optimizer_of
from pixelmill.workers.recipes.schedules import rate_at, warmup_steps_of
from pixelmill.workers.recipes.segmentation.augmentation import DRAWS, augment, brightened, to_floats, unequal_sizes
from pixelmill.workers.recipes.segmentation.black_and_white import note_of, unmixed
from pixelmill.workers.recipes.segmentation.judging import batches_of_one_size, confusion_of, images_of, judged, shown
from pixelmill.workers.recipes.segmentation.label_facts import LabelFacts, count_labels
from pixelmill.workers.recipes.segmentation.labels import VOID, class_names_of
from pixelmill.workers.recipes.segmentation.samples import read_sample
from pixelmill.workers.recipes.segmentation.settings import LabelledSettings, SegmentationSettings, TrunkSettings
from pixelmill.workers.typed_torch import from_numpy

Labelled = TypeVar("Labelled", bound=LabelledSettings)
Segmenting = TypeVar("Segmenting", bound=SegmentationSettings)
Trunked = TypeVar("Trunked", bound=TrunkSettings)


class LabelledRecipe(Generic[Labelled]):
    """Everything but network and optimizer. Call `prepare` or `restore` before `network`: labels determine the classes."""

    ROLES: ClassVar[tuple[Role, ...]] = (Role("image", "picture"), Role("label", "class map"))
    JUDGED_WITH: ClassVar[tuple[str, ...]] = ()
    GOAL: ClassVar[tuple[str, Literal["min", "max"]]] = ("miou", "max")

    def __init__(self, settings: Labelled, assets: Mapping[str, Path]) -> None:
        self.settings = settings
        self.assets = assets
        self.report: LoadReport | None = None
        """The preprocessing of the initial weights; None if there are none."""
        self._facts: LabelFacts | None = None
        self._moved_weights: tuple[tuple[tuple[float, ...], torch.device], Tensor] | None = None
        if settings.scales[0] > settings.scales[1]:
            raise ModelError(f"scales: {settings.scales} has to be (smallest, largest)")

    def network(self) -> nn.Module:
        raise NotImplementedError

    def keep_report(self, report: LoadReport | None) -> None:
        self.report = report

    @property
    def start(self) -> dict[str, JsonValue] | None:
        return None if self.report is None else self.report.facts()

    # Hooks of the networks

    def check_network(self) -> None:
        """Detect errors early that building the network would raise."""
        self.network()

    def grid(self, size_HW: tuple[int, int]) -> tuple[tuple[int, int], int]:
        """The size of labels, at least `size_HW`, for which the network has logits, and the margin that it needs around them."""
        return size_HW, 0

    def logits(self, network: nn.Module, images_BCHW: Tensor) -> Tensor:
        """Logits BKHW of whole pictures."""
        return network(images_BCHW)

    def extended(self, images_BCHW: Tensor) -> Tensor:
        """Prepare whole pictures for the network."""
        return images_BCHW

    # Data

    def decode(self, files: Mapping[str, bytes]) -> Sample:
        return read_sample(files, self.settings)

    def check(self, samples: Sequence[Sample], together: int) -> None:
        """Check a few samples before a training: whether they fit into batches, and whether the settings fit their classes."""
        sizes = {self.grid(self.settings.crop_px or _size_of(sample))[0] for sample in samples}
        if together > 1 and len(sizes) > 1:
            raise unequal_sizes(sizes)
        first, *_ = unmixed(samples)
        names = class_names_of(first)
        self._facts = LabelFacts(class_names=names, pixels=(1,) * len(names), seen_pixels=(1,) * len(names))
        self.class_weights()
        self.check_network()

    def notes(self, samples: Sequence[Sample]) -> list[str]:
        """What was taken for granted about the labels, for a person."""
        return note_of(samples)

    def prepare(self, samples: Iterable[Sample]) -> dict[str, JsonValue]:
        """Count the training labels, before `network` and `losses`; returns the counts for a later `restore`."""
        self._facts = count_labels(samples)
        return self._facts.model_dump(mode="json")

    def restore(self, prepared: Mapping[str, JsonValue]) -> None:
        """Restore the counts from `prepare` in the run that is resumed."""
        self._facts = LabelFacts.model_validate(prepared)

    def classes(self) -> Classes | None:
        """The names of the training labels, and their display colours."""
        if self._facts is None:
            return None
        return Classes(self._facts.class_names, class_colours(self._facts.class_names))

    @property
    def class_count(self) -> int:
        if self._facts is not None:
            return len(self._facts.class_names)
        if self.settings.classes is None:
            raise ModelError("the number of classes is not known before `prepare` has counted the labels")
        return self.settings.classes

    def batch(self, samples: Sequence[Sample], random: np.random.Generator) -> Batch:
        """images (BCHW in [0, 1]) and labels (BHW, ids or VOID); with valid convolutions images have a margin."""
        return self.augmented(self.drawn(samples, random))

    def drawn(self, samples: Sequence[Sample], random: np.random.Generator) -> Batch:
        """images (uint8 BCHW, channels last), labels (uint8 BHW), and the factors (B) of the images' brightness."""
        parts = [self._augmented(sample, random.random(DRAWS)) for sample in samples]
        if len(sizes := {label_HW.shape for _, label_HW, _ in parts}) > 1:
            raise unequal_sizes(sizes)
        images_BHWC = np.stack([image_CHW.permute(1, 2, 0).numpy() for image_CHW, _, _ in parts])
        labels_BHW = from_numpy(np.stack([label_HW for _, label_HW, _ in parts]))
        factors_B = torch.tensor([factor for _, _, factor in parts])
        return {"images": from_numpy(images_BHWC).permute(0, 3, 1, 2), "labels": labels_BHW, "factors": factors_B}

    def augmented(self, batch: Batch) -> Batch:
        images_BCHW, factors_B = batch["images"], batch["factors"]
        floats_BCHW = brightened(images_BCHW, factors_B) if self.settings.brightness else to_floats(images_BCHW)
        return {"images": floats_BCHW, "labels": batch["labels"].long()}

    def _augmented(self, sample: Sample, draws_D: np.ndarray) -> tuple[Tensor, np.ndarray, float]:
        kept_HW, margin_px = self.grid(self.settings.crop_px or _size_of(sample))
        return augment(sample, self.settings, kept_HW, margin_px, draws_D)

    # Training

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The loss of the settings; with several terms also each term."""
        logits_BKHW = network(batch["images"])
        weights_K = self._weights_on(logits_BKHW.device)
        terms, gamma = self.settings.loss_terms, self.settings.focal_gamma
        return segmentation_losses(logits_BKHW, batch["labels"], weights_K, terms, focal_gamma=gamma, void=VOID)

    def _weights_on(self, device: torch.device) -> Tensor:
        """The weights of the classes, moved once: a step would wait for the copy."""
        weights = self.class_weights()
        if self._moved_weights is None or self._moved_weights[0] != (weights, device):
            self._moved_weights = (weights, device), torch.tensor(weights, device=device)
        return self._moved_weights[1]

    def class_weights(self) -> tuple[float, ...]:
        """The weight of a pixel of each class."""
        chosen = self.settings.class_weights
        if chosen == "none":
            return (1.0,) * self.class_count
        if chosen == "median":
            if self._facts is None:
                raise ModelError("class_weights median needs the labels counted: `prepare` comes before `losses`")
            return self._facts.median_weights()
        if len(chosen) != self.class_count:
            raise ModelError(f"class_weights are {len(chosen)} for {self.class_count} classes; give one for each")
        return chosen

    def finish(self, network: nn.Module, samples: Iterable[Sample]) -> None:
        """Compute statistics of batch normalisation from whole training pictures and the current weights.

        Those gathered during training belong to earlier weights and to crops. Does nothing without batch normalisation.
        """
        device = next(network.parameters()).device
        with self._autocast(device):
            batches = (images_of(batch, device) for batch in batches_of_one_size(samples, self.settings.batch))
            update_bn((self.extended(images_BCHW) for images_BCHW in batches), network)

    # Judging

    def scores(self, network: nn.Module, samples: Iterable[Sample]) -> Scores:
        """One confusion matrix of whole pictures, and the names of its classes; see `confusion_of`."""
        return confusion_of(network, partial(self.predict, network), samples, self.settings.batch)

    def metrics(self, scores: Scores) -> dict[str, float]:
        """miou, pixel_accuracy, class_accuracy and iou_NAME of whole pictures."""
        return judged(scores)

    def pictures(self, network: nn.Module, samples: Sequence[Sample]) -> Tensor:
        """Rows of picture, truth and prediction; void is black."""
        return shown(network, partial(self.predict, network), samples)

    def predict(self, network: nn.Module, images_BCHW: Tensor) -> Tensor:
        """Class ids BHW of pictures in [0, 1], of their own size; averaged as the settings say."""
        averaging = self.settings.averaging
        with self._autocast(images_BCHW.device):
            if averaging.is_plain:
                return self.logits(network, images_BCHW).argmax(1)
            return mean_shares(partial(self.logits, network), images_BCHW, averaging).argmax(1)

    def _autocast(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16")


def _size_of(sample: Sample) -> tuple[int, int]:
    height, width = sample["label"].shape
    return height, width


class SegmentationRecipe(LabelledRecipe[Segmenting]):
    """A published network with its paper's optimizer and schedule."""

    def trunk(self, network: nn.Module) -> tuple[nn.Module, float] | None:
        """The part of the network that has a separate learning rate, and its share of the learning rate."""
        return None

    def optimizer(self, network: nn.Module) -> Optimizer:
        settings, trunk = self.settings, self.trunk(network)
        in_trunk = {id(parameter) for parameter in trunk[0].parameters()} if trunk else set[int]()
        rest = [parameter for parameter in network.parameters() if id(parameter) not in in_trunk]
        shares = [ParameterShare(rest)] + ([ParameterShare(trunk[0].parameters(), trunk[1])] if trunk else [])
        return optimizer_of(settings, network, shares)

    def rate(self, step: int, steps: int) -> float:
        """The full rate follows the last of `warmup_steps`, which does not reach it: zoo checkpoints were trained so."""
        return rate_at(self.settings, step, steps, full_at=warmup_steps_of(self.settings, steps) + 1)


class VggTrunkRecipe(SegmentationRecipe[Trunked]):
    """A network with VGG-16 as its trunk."""

    ASSETS: ClassVar[tuple[str, ...]] = ("vgg",)

    def check_network(self) -> None:
        if is_published(source := self.settings.vgg or ""):  # may be yet to be fetched, by who trains
            find_published(source)
        else:
            super().check_network()

    def vgg_weights(self, *, classifier: bool = False) -> VggWeights | None:
        """The initial weights; None if the settings name none."""
        source = self.assets.get("vgg", self.settings.vgg)
        if source is None:
            return None
        return read_vgg(source, classifier=classifier, convention=self.settings.vgg_convention)

    def convention(self, weights: VggWeights | None) -> ConventionName:
        return weights.convention if weights else self.settings.vgg_convention or "torchvision"
