"""Pretrain an autoencoder on CT without labels: plain, denoising, or masked in the way of SparK (Tian et al. 2023).

masked: a share of `mask_share` of patches of `patch_px` is hidden behind learned tokens, the encoder's features are masked at
each scale, the skip of full resolution is dropped, and the squared error counts on masked pixels only. denoising: Gaussian noise
of `noise` is added to the input. plain: the input is its own target.

Legend: B batch, C channels, S spatial axes: HW of slices, DHW of blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self, cast

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from pixelmill.workers.ct.slice_facts import SliceFacts
from pixelmill.workers.errors import DataError, ModelError
from pixelmill.workers.networks.ct_unet import CtAutoencoder, CtAutoencoderConfig
from pixelmill.workers.recipes import Batch, RecipeSettings, Role, Sample, Scores, config_from, ct_samples, squares
from pixelmill.workers.recipes.ct_samples import CtSettings
from pixelmill.workers.recipes.optimizers import OptimizerName, optimizer_of
from pixelmill.workers.recipes.schedules import ScheduleName, Share, rate_at
from pixelmill.workers.recipes.scoring import joined, means, rows_of
from pixelmill.workers.typed_torch import from_numpy

EVALUATION_BATCH = 8
Pretext = Literal["plain", "denoising", "masked"]


class CtAutoencoderSettings(CtSettings):
    """`crop_px` is the side of crops, along all axes of blocks; a multiple of the network's stride and of `patch_px`."""

    epochs: PositiveFloat = 20
    batch: PositiveInt = 16
    optimizer: OptimizerName = "adamw"
    learning_rate: PositiveFloat = 1e-3
    weight_decay: NonNegativeFloat = 0.05
    schedule: ScheduleName = "cosine"
    warmup_share: Share = 0.05
    pretext: Pretext = "masked"
    crop_px: PositiveInt = 128
    patch_px: PositiveInt = 16
    mask_share: Annotated[float, Field(gt=0, lt=1)] = 0.65
    noise: PositiveFloat = 0.1

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        try:
            stride = self.network_config().stride
        except ModelError as error:
            raise ValueError(str(error)) from error
        if self.pretext == "masked" and (self.patch_px % stride or self.crop_px % self.patch_px):
            raise ValueError(
                f"patch_px {self.patch_px} has to be a multiple of {stride}, a cell of the coarsest map, and crop_px "
                f"{self.crop_px} a multiple of patch_px"
            )
        if self.crop_px % stride or self.size_px % self.patch_px or self.crop_px > self.size_px:
            raise ValueError(
                f"crop_px {self.crop_px} has to be a multiple of {stride} up to size_px, and size_px {self.size_px} one of "
                f"patch_px {self.patch_px}"
            )
        return self

    def network_config(self) -> CtAutoencoderConfig:
        return config_from(CtAutoencoderConfig, self, masked=self.pretext == "masked")


class CtAutoencoderRecipe:
    """A batch is {"images": floats BCS in [0, 1]}, with "visible", B1S, where it is masked, or "inputs" where noise is added."""

    NAME: ClassVar[str] = "ct-autoencoder"
    NETWORK: ClassVar[str] = "ct-autoencoder"
    ROLES: ClassVar[tuple[Role, ...]] = (Role("image", "hu"),)
    ASSETS: ClassVar[tuple[str, ...]] = ()
    JUDGED_WITH: ClassVar[tuple[str, ...]] = ()
    GOAL: ClassVar[tuple[str, Literal["min", "max"]]] = ("mse", "min")
    Settings: ClassVar[type[RecipeSettings]] = CtAutoencoderSettings

    def __init__(self, settings: CtAutoencoderSettings, assets: Mapping[str, Path]) -> None:
        self.settings = settings

    def chosen(self, slices: SliceFacts, labels: np.ndarray | None) -> np.ndarray:
        return ct_samples.thinned_to(self.settings, slices)

    def network(self) -> CtAutoencoder:
        network = CtAutoencoder(self.settings.network_config())
        return network if self.settings.dims == 3 else network.to(memory_format=torch.channels_last)

    def decode(self, files: Mapping[str, bytes]) -> Sample:
        return ct_samples.decoded(files["image"], self.settings)

    def batch(self, samples: Sequence[Sample], random: np.random.Generator) -> Batch:
        made = [self._drawn(sample, random) for sample in samples]
        return {name: torch.stack([each[name] for each in made]) for name in made[0]}

    def _drawn(self, sample: Sample, random: np.random.Generator) -> dict[str, Tensor]:
        """One crop; the count of draws follows from the settings alone."""
        values, side = sample["values"], self.settings.crop_px
        places, mirror = random.random(values.ndim), random.random() < 0.5
        crop = values[ct_samples.corner(values.shape, side, places)]
        crop = crop[..., ::-1] if self.settings.flip and mirror else crop
        return self._posed(self.settings.normalization.applied(crop, sample["spread"]), random)

    def _posed(self, image_CS: Tensor, random: np.random.Generator) -> dict[str, Tensor]:
        """An image with what the pretext draws for it."""
        self._require_stride(image_CS)
        if self.settings.pretext == "plain":
            return {"images": image_CS}
        if self.settings.pretext == "denoising":
            noise_CS = from_numpy(random.standard_normal(image_CS.shape, dtype=np.float32))
            return {"images": image_CS, "inputs": image_CS + self.settings.noise * noise_CS}
        return {"images": image_CS, "visible": self._mask(image_CS.shape[1:], random)}

    def _mask(self, shape: Sequence[int], random: np.random.Generator) -> Tensor:
        """1S, 1 where a patch is visible; at least one is hidden, and one is seen."""
        patch_px = self.settings.patch_px
        cells = [length // patch_px for length in shape]
        count = int(np.prod(cells))
        hidden = min(max(1, round(self.settings.mask_share * count)), max(1, count - 1))
        visible = np.ones(count, np.float32)
        visible[random.permutation(count)[:hidden]] = 0
        mask = visible.reshape(cells)
        for axis in range(len(cells)):
            mask = mask.repeat(patch_px, axis)
        return from_numpy(mask)[None]

    def _require_stride(self, image_CS: Tensor) -> None:
        step = self.settings.patch_px if self.settings.pretext == "masked" else self.settings.network_config().stride
        if any(length % step for length in image_CS.shape[1:]):
            raise DataError(f"its sides {tuple(image_CS.shape[1:])} are no multiples of {step}; cut blocks that are")

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        return optimizer_of(self.settings, network)

    def rate(self, step: int, steps: int) -> float:
        return rate_at(self.settings, step, steps)

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """{"loss": squared error; of masked pixels alone where the pretext is masked}."""
        return {"loss": self._errors(network, batch).mean()}

    def _errors(self, network: nn.Module, batch: Batch) -> Tensor:
        """The mean squared error of each image, B."""
        images_BCS, visible_B1S = batch["images"], batch.get("visible")
        if visible_B1S is None:
            return (network(batch.get("inputs", images_BCS)).float() - images_BCS).square().flatten(1).mean(1)
        squared_BCS = (network(images_BCS, visible_B1S).float() - images_BCS).square()
        hidden_B1S = 1 - visible_B1S
        return (squared_BCS * hidden_B1S).flatten(1).sum(1) / (hidden_B1S.flatten(1).sum(1) * images_BCS.shape[1])

    def scores(self, network: nn.Module, samples: Iterable[Sample]) -> Scores:
        """`mse` of each whole slice, as its pretext counts it, in the unit of [0, 1]; masks and noise follow from the slice."""
        device = next(network.parameters()).device
        parts = (self._judged(chunk) for chunk in squares.chunks(samples, EVALUATION_BATCH))
        moved = ({name: tensor.to(device) for name, tensor in part.items()} for part in parts)
        return joined({"mse": rows_of(self._errors(network, part))} for part in moved)

    def _judged(self, chunk: Sequence[Sample]) -> Batch:
        """Whole slices; of blocks the first corner that a crop fits into."""
        made = [self._posed(self._whole(sample), ct_samples.generator_of(sample)) for sample in chunk]
        return {name: torch.stack([each[name] for each in made]) for name in made[0]}

    def _whole(self, sample: Sample) -> Tensor:
        values = sample["values"]
        if values.ndim == 3:
            values = values[ct_samples.corner(values.shape, self.settings.crop_px, np.zeros(3))]
        return self.settings.normalization.applied(values, sample["spread"])

    def metrics(self, scores: Scores) -> dict[str, float]:
        """`mse`, of masked pixels where the pretext is masked."""
        return means(scores)

    def pictures(self, network: nn.Module, samples: Sequence[Sample]) -> Tensor:
        """Rows of slices, of what the network saw of them, and of reconstructions: of masked ones what was hidden, around what
        was seen, as nothing trains the pixels that were seen."""
        device = next(network.parameters()).device
        batch = {name: tensor.to(device) for name, tensor in self._judged(samples).items()}
        images_BCS, visible_B1S = batch["images"], batch.get("visible")
        with torch.inference_mode():
            if visible_B1S is None:
                seen_BCS = batch.get("inputs", images_BCS)
                made_BCS = network(seen_BCS)
            else:
                seen_BCS = images_BCS * visible_B1S
                guessed_BCS = cast("CtAutoencoder", network)(images_BCS, visible_B1S)
                made_BCS = torch.where(visible_B1S > 0, images_BCS, guessed_BCS)
        return squares.in_rows(*(_shown(each) for each in (images_BCS, seen_BCS, made_BCS)))


def _shown(images_BCS: Tensor) -> Tensor:
    """The first channel; of a block its middle slice."""
    first_B1S = images_BCS[:, :1]
    return first_B1S if first_B1S.ndim == 4 else first_B1S[:, :, first_B1S.shape[2] // 2]
