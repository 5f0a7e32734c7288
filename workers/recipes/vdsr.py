"""Train VDSR: restore patches of luma that were interpolated from a half, a third and a quarter of their size.

Kim et al. 2016 (arXiv:1511.04587). The paper's optimizer is SGD with a high rate and gradients clipped by value; Adam
needs fewer steps. Its rate of 0.1 belongs to a loss that is a sum over pixels, as here.

Legend: B batch, 1 the luma channel, C = 3 colours, H height, W width, P side of a patch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from pixelmill.workers.errors import DataError
from pixelmill.workers.evaluation.picture_quality import psnr, ssim
from pixelmill.workers.geometry import resampling
from pixelmill.workers.networks.vdsr import Vdsr, VdsrConfig
from pixelmill.workers.prediction.self_ensemble import Ensemble
from pixelmill.workers.prediction.super_resolution import luma_to_input, sharpen
from pixelmill.workers.recipes import PICTURES, Batch, RecipeSettings, Role, Sample, Scores, config_from
from pixelmill.workers.recipes.optimizers import OptimizerName, optimizer_of
from pixelmill.workers.recipes.sample_pixels import sample_pixels
from pixelmill.workers.recipes.schedules import Fraction, ScheduleName, rate_at
from pixelmill.workers.recipes.scoring import joined, means
from pixelmill.workers.typed_torch import from_numpy

DRAWS = 5  # random numbers for each sample: scale, row, column, turn, mirror
PICTURE_PX = 160


class VdsrSettings(RecipeSettings):
    """The paper's: 9,960 steps of 64 patches; the rate falls to a tenth after each quarter.

    `clip_theta` is the largest change of a weight by one gradient in one step, before momentum; the paper does not state its
    value. With every optimizer but sgd the default schedule is half a cosine down to 1 %, and `max_gradient_norm` is the
    limit of gradients. `ensemble` 8 averages evaluation over the eight orientations of a picture.
    """

    steps: PositiveInt | None = 9960
    batch: PositiveInt = 64
    learning_rate: PositiveFloat = 0.1
    optimizer: OptimizerName = "sgd"
    weight_decay: NonNegativeFloat = 1e-4
    schedule: ScheduleName = "step"
    step_at: tuple[Fraction, ...] = (0.25, 0.5, 0.75)
    clip_theta: PositiveFloat = 1e-4
    scales: Annotated[tuple[Annotated[int, Field(ge=2, le=8)], ...], Field(min_length=1)] = (2, 3, 4)
    patch_px: Annotated[int, Field(ge=8)] = 41
    depth: Annotated[int, Field(ge=2)] = 20
    width: PositiveInt = 64
    ensemble: Ensemble = 1

    @model_validator(mode="before")
    @classmethod
    def _schedule_of_the_optimizer(cls, given: Any) -> Any:
        """Settings that name no schedule get that of their optimizer."""
        if not isinstance(given, dict):
            return given
        stated = cast("dict[str, Any]", given)
        is_papers = stated.get("optimizer", "sgd") == "sgd"
        return stated if "schedule" in stated or is_papers else {"final_rate": 0.01, **stated, "schedule": "cosine"}


class VdsrRecipe:
    """One sample is the luma of one picture; each use of it draws one patch at one scale."""

    NAME: ClassVar[str] = "vdsr"
    NETWORK: ClassVar[str] = "vdsr"
    ROLES: ClassVar[tuple[Role, ...]] = PICTURES
    ASSETS: ClassVar[tuple[str, ...]] = ()
    JUDGED_WITH: ClassVar[tuple[str, ...]] = ()
    GOAL: ClassVar[tuple[str, Literal["min", "max"]]] = ("gain", "max")
    Settings: ClassVar[type[RecipeSettings]] = VdsrSettings

    def __init__(self, settings: VdsrSettings, assets: Mapping[str, Path]) -> None:
        self.settings = settings

    def network(self) -> nn.Module:
        network = Vdsr(config_from(VdsrConfig, self.settings))
        return network.to(memory_format=torch.channels_last)

    def decode(self, files: Mapping[str, bytes]) -> Sample:
        rgb_HWC = sample_pixels(files["image"]).permute(1, 2, 0).numpy()
        luma_HW = resampling.luma(rgb_HWC)
        if min(luma_HW.shape) < self.settings.patch_px + max(self.settings.scales):
            size, needed = "x".join(map(str, luma_HW.shape[::-1])), self.settings.patch_px + max(self.settings.scales)
            raise DataError(f"a picture of {size} px has no room for a patch; leave out those under {needed} px a side")
        return {"luma": luma_HW}

    def batch(self, samples: Sequence[Sample], random: np.random.Generator) -> Batch:
        patches = [self._patches(sample["luma"], random.random(DRAWS)) for sample in samples]
        names = ("interpolated", "target")
        return {
            name: luma_to_input(np.stack(kind)) for name, kind in zip(names, zip(*patches, strict=True), strict=True)
        }

    def _patches(self, luma_HW: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One square, interpolated and original, turned and mirrored alike: PP each."""
        scale = self.settings.scales[int(draws[0] * len(self.settings.scales))]
        truth_HW, side = resampling.crop_to_multiple(luma_HW, scale), self.settings.patch_px
        top, left = (int(draw * (length - side + 1)) for draw, length in zip(draws[1:3], truth_HW.shape, strict=True))
        interpolated_PP = resampling.interpolated_window(truth_HW, scale, top, left, side)
        target_PP = truth_HW[top : top + side, left : left + side]
        return _turned(interpolated_PP, *draws[3:]), _turned(target_PP, *draws[3:])

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """`adam` decays weights as adamw does: the checkpoint that ships was trained so."""
        settings = self.settings
        is_adam = settings.optimizer == "adam"
        return optimizer_of(settings.model_copy(update={"optimizer": "adamw"}) if is_adam else settings, network)

    def rate(self, step: int, steps: int) -> float:
        return rate_at(self.settings, step, steps)

    def clip(self, network: nn.Module, learning_rate: float) -> None:
        """Limit the gradients after the backward pass: by value to theta / rate (section 3.2), with Adam by their norm."""
        if self.settings.optimizer == "sgd":
            nn.utils.clip_grad_value_(network.parameters(), self.settings.clip_theta / learning_rate)
        elif self.settings.max_gradient_norm is not None:
            nn.utils.clip_grad_norm_(network.parameters(), self.settings.max_gradient_norm)

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Half the squared error, summed over the pixels of a patch (section 3.2: 1/2 ||r - f(x)||^2)."""
        errors_B1PP = network(batch["interpolated"]).float() - batch["target"]
        mse = errors_B1PP.square().mean()
        return {"loss": mse * errors_B1PP[0].numel() / 2, "mse": mse}

    def scores(self, network: nn.Module, samples: Iterable[Sample]) -> Scores:
        """PSNR in dB and SSIM of each picture at each scale, of the network and of bicubic interpolation."""
        return joined(self._scored(network, sample) for sample in samples)

    def _scored(self, network: nn.Module, sample: Sample) -> Scores:
        return {
            f"{name}_x{scale}": np.array([score])
            for scale in self.settings.scales
            for name, score in _scores(network, sample["luma"], scale, self.settings.ensemble).items()
        }

    def metrics(self, scores: Scores) -> dict[str, float]:
        """Means over pictures; `gain` is the gain in PSNR over bicubic interpolation, averaged over all scales."""
        found = means(scores)
        gains = {
            f"gain_x{scale}": found[f"psnr_x{scale}"] - found[f"bicubic_psnr_x{scale}"]
            for scale in self.settings.scales
        }
        return found | gains | {"gain": float(np.mean(list(gains.values())))}

    def pictures(self, network: nn.Module, samples: Sequence[Sample]) -> Tensor:
        """A row for each sample: interpolated from the smallest scale, the network's output, and the original."""
        rows = [self._row(network, sample["luma"]) for sample in samples]
        grey_HW = from_numpy(np.concatenate(rows, axis=0))
        return grey_HW.expand(3, -1, -1).contiguous()

    def _row(self, network: nn.Module, luma_HW: np.ndarray) -> np.ndarray:
        scale = max(self.settings.scales)
        truth_HW = resampling.crop_to_multiple(luma_HW, scale)
        blurred_HW = resampling.interpolated(truth_HW, scale)
        shown = (blurred_HW, sharpen(network, blurred_HW, ensemble=self.settings.ensemble), truth_HW)
        return np.concatenate([_centre(resampling.to_uint8(picture_HW), PICTURE_PX) for picture_HW in shown], axis=1)


def _scores(network: nn.Module, luma_HW: np.ndarray, scale: int, ensemble: Ensemble) -> dict[str, float]:
    """PSNR in dB and SSIM at one scale, of the network and of bicubic interpolation, without a border of `scale`."""
    truth_HW = resampling.crop_to_multiple(luma_HW, scale)
    blurred_HW = resampling.interpolated(truth_HW, scale)
    found: dict[str, float] = {}
    for prefix, luma_HW in (("", sharpen(network, blurred_HW, ensemble=ensemble)), ("bicubic_", blurred_HW)):
        found[f"{prefix}psnr"] = psnr(luma_HW.clip(0, 255), truth_HW, scale)
        found[f"{prefix}ssim"] = ssim(luma_HW.clip(0, 255), truth_HW, scale)
    return found


def _turned(patch_PP: np.ndarray, turn: float, mirror: float) -> np.ndarray:
    """One of the eight orientations of a square, chosen by two numbers in [0, 1)."""
    turned_PP = np.rot90(patch_PP, int(turn * 4))
    return turned_PP[:, ::-1] if mirror < 0.5 else turned_PP


def _centre(pixels_HW: np.ndarray, side_px: int) -> np.ndarray:
    """The central square, with grey where the picture is smaller."""
    starts = [max(0, (side - side_px) // 2) for side in pixels_HW.shape]
    cut_HW = pixels_HW[starts[0] : starts[0] + side_px, starts[1] : starts[1] + side_px]
    missing = [(0, side_px - side) for side in cut_HW.shape]
    return np.pad(cut_HW, missing, constant_values=128)
