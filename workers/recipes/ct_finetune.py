"""Fine-tune the encoder of a ct-autoencoder on a few labelled patients: the mask of a structure, or the class of a slice.

`init_from=URI` begins with a pretrained encoder and takes its normalisation; without it the same network starts from random
weights. `labels` trains on so many patients, a subset of any larger one; for classes on so many of each.

Legend: B batch, C channels, K classes, H height, W width, S side of the network's input.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from pixelmill.workers.ct.normalization import resized_mask
from pixelmill.workers.ct.slice_facts import SliceFacts, first_patients
from pixelmill.workers.ct.slice_files import mask_values
from pixelmill.workers.errors import DataError, ModelError
from pixelmill.workers.evaluation.mask_scores import auc_of, dice_of, hd95_of, threshold_lungs
from pixelmill.workers.models.picture_model import Classes
from pixelmill.workers.networks.ct_unet import CtFinetuned, CtFinetunedConfig
from pixelmill.workers.recipes import Batch, RecipeSettings, Role, Sample, Scores, config_from, ct_samples, squares
from pixelmill.workers.recipes.ct_samples import CtSettings
from pixelmill.workers.recipes.optimizers import OptimizerName, ParameterShare, optimizer_of
from pixelmill.workers.recipes.schedules import ScheduleName, Share, rate_at
from pixelmill.workers.recipes.scoring import joined, means
from pixelmill.workers.typed_torch import from_numpy

EVALUATION_BATCH = 8
SMOOTH = 1.0
"""Added to both parts of the Dice loss, so that a slice without the structure has one."""


class CtFinetuneSettings(CtSettings):
    """`encoder_rate` is the encoder's share of the learning rate, `frozen` leaves it as it is, and `hold_passes` does so for the
    first passes, while the head finds its place. `labels`: patients to train on; `labels_seed` draws which.
    """

    steps: PositiveInt | None = 500
    batch: PositiveInt = 8
    optimizer: OptimizerName = "adamw"
    learning_rate: PositiveFloat = 1e-3
    weight_decay: NonNegativeFloat = 0.05
    schedule: ScheduleName = "cosine"
    warmup_share: Share = 0.1
    head: Literal["segment", "classify"] = "segment"
    classes: PositiveInt | None = None
    class_names: tuple[str, ...] | None = None
    encoder_rate: PositiveFloat = 1.0
    frozen: bool = False
    hold_passes: NonNegativeInt = 0
    labels: PositiveInt | None = None
    labels_seed: NonNegativeInt = 0
    crop_px: PositiveInt | None = None

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        try:
            stride = self.network_config(self.classes or 2).stride
        except ModelError as error:
            raise ValueError(str(error)) from error
        if self.crop_px is not None and (self.crop_px % stride or self.crop_px > self.size_px):
            raise ValueError(f"crop_px {self.crop_px} has to be a multiple of {stride} up to size_px {self.size_px}")
        return self

    def network_config(self, classes: int, values: Sequence[str] | None = None) -> CtFinetunedConfig:
        return config_from(CtFinetunedConfig, self, classes=classes, values=values)


class CtFinetuneRecipe:
    """A sample is {"values", "spread", "label": uint8 SS or int64, optionally "classes"}, a batch {"images": BCSS, "labels"}."""

    NAME: ClassVar[str] = "ct-finetune"
    NETWORK: ClassVar[str] = "ct-finetuned"
    ROLES: ClassVar[tuple[Role, ...]] = (Role("image", "hu"), Role("label", "ct label"))
    ASSETS: ClassVar[tuple[str, ...]] = ()
    JUDGED_WITH: ClassVar[tuple[str, ...]] = ()
    GOAL: ClassVar[tuple[str, Literal["min", "max"]]] = ("loss", "min")
    Settings: ClassVar[type[RecipeSettings]] = CtFinetuneSettings

    def __init__(self, settings: CtFinetuneSettings, assets: Mapping[str, Path]) -> None:
        self.settings = settings
        self._names = settings.class_names
        self._classes = settings.classes
        self._values: list[str] | None = None

    # ---------------------------------------------------------------------------------------------------------- data

    def chosen(self, slices: SliceFacts, labels: np.ndarray | None) -> np.ndarray:
        """Slices of the first `labels` patients, for classes of each class."""
        kept = ct_samples.thinned_to(self.settings, slices)
        if self.settings.labels is None:
            return kept
        groups = np.zeros(len(slices.patients), np.int64) if labels is None else labels
        wanted: set[int] = set()
        places, names = cast("list[int]", kept.tolist()), cast("list[int]", groups.tolist())
        for group in sorted({names[index] for index in places}):
            members = [index for index in places if names[index] == group]
            there = {slices.patients[index] for index in members}
            if len(there) < self.settings.labels:
                raise DataError(f"labels {self.settings.labels}: there are only {len(there)} patients; ask for fewer")
            patients = set(first_patients(there, self.settings.labels, f"labels {self.settings.labels_seed}"))
            wanted |= {index for index in members if slices.patients[index] in patients}
        return np.array(sorted(wanted), np.int64)

    def decode(self, files: Mapping[str, bytes]) -> Sample:
        sample, label = ct_samples.decoded(files["image"], self.settings), files["label"]
        is_class = label.strip().isdigit()
        if is_class != (self.settings.head == "classify"):
            kind, head = ("a class", "classify") if is_class else ("a mask", "segment")
            raise DataError(f"its label is {kind}, and head is {self.settings.head}; set head={head}")
        if is_class:
            sample["label"] = np.asarray(int(label), np.int64)
        elif self.settings.body_crop:
            raise DataError("body_crop is for classes: a mask would not be cut with its slice; leave it out")
        else:
            sample["label"] = resized_mask(mask_values(label), self.settings.size_px)
        return sample | ({"classes": np.frombuffer(files["classes"], np.uint8)} if "classes" in files else {})

    def prepare(self, samples: Iterable[Sample]) -> Mapping[str, Any]:
        """The number of classes and, where folders are classes, their names, of masks two; and the kinds of values."""
        is_mask = self.settings.head == "segment"
        most, names, values = 0, None, set[str]()
        for sample in samples:
            values.add("windowed" if sample["values"].dtype == np.uint8 else "hu")
            if not is_mask:
                most, names = max(most, int(sample["label"])), sample.get("classes", names)
        seen = {"values": sorted(values)}
        if is_mask:
            return {"classes": 2, "class_names": list(self._names or ("background", "structure"))} | seen
        listed = None if names is None else json.loads(names.tobytes())
        return {"classes": self.settings.classes or max(2, most + 1, len(listed or [])), "class_names": listed} | seen

    def restore(self, prepared: Mapping[str, Any]) -> None:
        self._classes = prepared["classes"]
        self._values = prepared.get("values") or None
        self._names = tuple(prepared.get("class_names") or self.settings.class_names or ())

    def classes(self) -> Classes | None:
        return Classes(self._names) if self._names and len(self._names) == self._classes else None

    def network(self) -> CtFinetuned:
        network = CtFinetuned(self.settings.network_config(self._classes or 2, self._values))
        return network.to(memory_format=torch.channels_last)

    def batch(self, samples: Sequence[Sample], random: np.random.Generator) -> Batch:
        images, labels = zip(*(self._drawn(sample, random) for sample in samples), strict=True)
        return {"images": torch.stack(images), "labels": torch.stack(labels)}

    def _drawn(self, sample: Sample, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """A crop, or the whole slice, mirrored or not; always three draws."""
        values, label, chances = sample["values"], sample["label"], random.random(3)
        area = ct_samples.corner(values.shape, self.settings.crop_px or max(values.shape), chances[:2])
        step = -1 if self.settings.flip and chances[2] < 0.5 else 1
        image_CSS = self.settings.normalization.applied(values[area][:, ::step], sample["spread"])
        label = label[area][:, ::step] if label.ndim else label
        return image_CSS, from_numpy(np.array(label)).long()

    # ------------------------------------------------------------------------------------------------------ training

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        finetuned = cast("CtFinetuned", network)
        trained = [each for each in finetuned.encoder.parameters() if each.requires_grad]
        shares = [ParameterShare(finetuned.head.parameters())]
        shares += [ParameterShare(trained, self.settings.encoder_rate)] if trained else []
        return optimizer_of(self.settings, network, shares)

    def rate(self, step: int, steps: int) -> float:
        return rate_at(self.settings, step, steps)

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy; of masks with 1 - Dice, as a mean over slices."""
        return {"loss": self._losses(network(batch["images"]).float(), batch["labels"]).mean()}

    def _losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of each slice, B."""
        entropy = F.cross_entropy(logits, labels, reduction="none")
        if self.settings.head == "classify":
            return entropy
        inside_BN, true_BN = logits.softmax(1)[:, 1].flatten(1), labels.flatten(1).float()
        shared_B, total_B = (inside_BN * true_BN).sum(1), inside_BN.sum(1) + true_BN.sum(1)
        return entropy.flatten(1).mean(1) + 1 - (2 * shared_B + SMOOTH) / (total_B + SMOOTH)

    # ---------------------------------------------------------------------------------------------------- evaluation

    def scores(self, network: nn.Module, samples: Iterable[Sample]) -> Scores:
        """N each: `loss`; of masks `dice` and `hd95_px`; of classes `probability` of the last class, `label` and `correct`."""
        return joined(self._scored(network, chunk) for chunk in squares.chunks(samples, EVALUATION_BATCH))

    def _scored(self, network: nn.Module, chunk: Sequence[Sample]) -> Scores:
        device = next(network.parameters()).device
        logits = network(whole_images(chunk, self.settings).to(device)).float().cpu()
        labels = torch.stack([from_numpy(np.array(sample["label"])).long() for sample in chunk])
        if int(labels.max()) >= logits.shape[1]:
            raise DataError(f"the label {int(labels.max())} is there, and the network knows {logits.shape[1]} classes")
        found: Scores = {"loss": self._losses(logits, labels).numpy()}
        if self.settings.head == "segment":
            return found | masks_scored(logits.argmax(1).numpy() == 1, labels.numpy() == 1)
        right = (logits.argmax(1) == labels).double().numpy()
        return found | {"probability": logits.softmax(1)[:, -1].numpy(), "label": labels.numpy(), "correct": right}

    def metrics(self, scores: Scores) -> dict[str, float]:
        """Means over slices: dice, 1 - dice and hd95_px of masks; of classes accuracy and, where there are two, auc."""
        found = means(scores)
        if self.settings.head == "segment":
            return {**found, "one_minus_dice": 1 - found["dice"]}
        named = {"loss": found["loss"], "accuracy": found["correct"]}
        if self._classes in {None, 2} and len(np.unique(scores["label"])) == 2:
            named["auc"] = auc_of(scores["probability"], scores["label"] == 1)
        return named

    def baselines(self, samples: Iterable[Sample]) -> dict[str, dict[str, float]]:
        """Lungs without learning, at -320 HU; nothing for classes and for windowed pictures."""
        if self.settings.head == "classify":
            return {}
        parts = [
            masks_scored(threshold_lungs(sample["values"])[None], sample["label"][None] == 1)
            for sample in samples
            if sample["values"].dtype == np.int16
        ]
        if not parts:
            return {}
        found = means(joined(parts))
        return {"threshold at -320 HU, without learning": {**found, "one_minus_dice": 1 - found["dice"]}}

    def pictures(self, network: nn.Module, samples: Sequence[Sample]) -> Tensor:
        """Rows of slices, of the probability of the last class, and of the labels."""
        device = next(network.parameters()).device
        images_BCSS = whole_images(samples, self.settings)
        with torch.inference_mode():
            likely = network(images_BCSS.to(device)).softmax(1)[:, -1:].cpu()
        labels = torch.stack([from_numpy(np.array(sample["label"])).float() for sample in samples])
        shape = (-1, 1, *images_BCSS.shape[2:])
        maps = [
            each.reshape(len(samples), 1, *each.shape[-2:] if each.ndim > 2 else (1, 1)) for each in (likely, labels)
        ]
        return squares.in_rows(images_BCSS[:, :1], *(each.expand(shape) for each in maps))


def whole_images(samples: Sequence[Sample], settings: CtFinetuneSettings) -> Tensor:
    """Slices as the network sees them, BCSS."""
    normalization = settings.normalization
    return torch.stack([normalization.applied(sample["values"], sample["spread"]) for sample in samples])


def masks_scored(made_BHW: np.ndarray, true_BHW: np.ndarray) -> Scores:
    pairs = list(zip(made_BHW, true_BHW, strict=True))
    return {
        "dice": np.array([dice_of(*pair) for pair in pairs]),
        "hd95_px": np.array([hd95_of(*pair) for pair in pairs]),
    }
