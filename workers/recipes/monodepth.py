"""Train Monodepth: depth from one picture, learned from stereo pairs without measured depth.

Godard et al. 2017 (arXiv:1609.03677). Each view is reconstructed from the other one with the predicted disparity; the loss adds
the reconstruction error, the roughness of the disparity and the disagreement between the disparities of the two views.

As in the paper and in the authors' code, a mirrored pair is also swapped, so that its left view stays the left view.

Differences: the smoothness term keeps the gradient along y, as in the paper; the authors' code drops it (losses/stereo.py).
`first_disparity` can start at another value than theirs.

Legend: B batch, C = 3 colours, H height, W width, 2 the left and the right view, N LiDAR returns.
Disparities are fractions of the width, depths metres.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from pixelmill.workers.errors import DataError
from pixelmill.workers.evaluation.depth import NEAREST_M, depth_errors, is_scored
from pixelmill.workers.evaluation.depth_colours import coloured
from pixelmill.workers.geometry.resize import stretch
from pixelmill.workers.losses.stereo import photometric_loss, stereo_losses, warp
from pixelmill.workers.networks.monodepth import MAX_DISPARITY, Monodepth, MonodepthConfig
from pixelmill.workers.prediction.depth import disparity_to_depth, flip_averaged
from pixelmill.workers.recipes import Batch, RecipeSettings, Role, Sample, Scores
from pixelmill.workers.recipes.optimizers import optimizer_of
from pixelmill.workers.recipes.sample_pixels import sample_pixels
from pixelmill.workers.recipes.schedules import Fraction, ScheduleName, rate_at
from pixelmill.workers.recipes.scoring import joined, means
from pixelmill.workers.recipes.squares import chunks
from pixelmill.workers.recipes.stereo_pairs import (
    cropped_pair,
    decode_depth,
    depth_of,
    looked_up,
    mirrored_pair,
    read_camera,
    recoloured,
    to_input,
    unchanged_colours,
)
from pixelmill.workers.typed_torch import from_numpy

DRAWS = 7  # random numbers for each sample: mirror, change colours, gamma, brightness, red, green, blue
CROP_DRAWS = 3  # size, row, column of a crop
EVALUATION_BATCH = 8


class MonodepthSettings(RecipeSettings):
    """The paper's: 50 epochs of batches of 8 at 512x256, Adam at 1e-4, halved after 3/5 and 4/5.

    Pairs are resized to `height_px` x `width_px`. `width` is the network's, 32 in the paper; `skips` are the levels with skip
    connections. `first_disparity` is the initial output of a new network, 0.15 in the paper. On a road that is a depth of 2 m,
    at which the views do not match, and the loss has no useful gradient for hundreds of steps. `flip_evaluation` averages a
    picture's disparity with that of its mirror image, as the paper's "pp". `smallest_crop` is the smallest side of a random
    window that a pair is cropped to, as a share of its side; the paper has none, and few pairs are soon learned by heart.
    """

    epochs: PositiveFloat = 50
    batch: PositiveInt = 8
    learning_rate: PositiveFloat = 1e-4
    schedule: ScheduleName = "step"
    step_at: tuple[Fraction, ...] = (0.6, 0.8)
    step_factor: Annotated[float, Field(gt=0, le=1)] = 0.5
    height_px: Annotated[int, Field(ge=32)] = 256
    width_px: Annotated[int, Field(ge=32)] = 512
    width: PositiveInt = 32
    skips: tuple[int, ...] = (1, 2, 3, 4, 5, 6)
    first_disparity: Annotated[float, Field(gt=0, lt=MAX_DISPARITY)] = 0.15
    ssim_share: Annotated[float, Field(ge=0, le=1)] = 0.85
    smoothness_weight: Annotated[float, Field(ge=0)] = 0.1
    consistency_weight: Annotated[float, Field(ge=0)] = 1.0
    augment: bool = True
    smallest_crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    flip_evaluation: bool = True


class MonodepthRecipe:
    """One sample is a rectified pair, optionally with LiDAR depth, which only the evaluation uses."""

    NAME: ClassVar[str] = "monodepth"
    NETWORK: ClassVar[str] = "monodepth"
    ROLES: ClassVar[tuple[Role, ...]] = (
        Role("left", "picture"),
        Role("right", "picture"),
        Role("depth", "depth map", is_needed=False),
    )
    ASSETS: ClassVar[tuple[str, ...]] = ()
    JUDGED_WITH: ClassVar[tuple[str, ...]] = ()
    GOAL: ClassVar[tuple[str, Literal["min", "max"]]] = ("abs_rel", "min")
    Settings: ClassVar[type[RecipeSettings]] = MonodepthSettings

    def __init__(self, settings: MonodepthSettings, assets: Mapping[str, Path]) -> None:
        self.settings = settings

    def network(self) -> nn.Module:
        size_px = (self.settings.height_px, self.settings.width_px)
        network = Monodepth(MonodepthConfig(self.settings.width, self.settings.skips, size_px))
        network.begin_at(self.settings.first_disparity)
        return network.to(memory_format=torch.channels_last)

    def decode(self, files: Mapping[str, bytes]) -> Sample:
        """`left` and `right`, uint8 HWC, resized; `depth`, uint16 HW, unchanged, and `camera`, if they exist."""
        pixels = {view: sample_pixels(files[view], view) for view in ("left", "right")}
        if pixels["left"].shape != pixels["right"].shape:
            sizes = " and ".join(f"{pixels[view].shape[2]}x{pixels[view].shape[1]}" for view in ("left", "right"))
            raise DataError(f"left and right are {sizes} px; give rectified pairs of one size")
        sample: Sample = {view: self._resized(pixels_CHW) for view, pixels_CHW in pixels.items()}
        if "depth" in files:
            sample["depth"] = decode_depth(files["depth"])
            sample["camera"] = read_camera(files)
        return sample

    def _resized(self, pixels_CHW: Tensor) -> np.ndarray:
        resized_CHW = stretch(pixels_CHW, (self.settings.height_px, self.settings.width_px))
        return resized_CHW.permute(1, 2, 0).contiguous().numpy()

    def batch(self, samples: Sequence[Sample], random: np.random.Generator) -> Batch:
        """{"left", "right"}: floats BCHW in [0, 1]."""
        return self.augmented(self.drawn(samples, random))

    def drawn(self, samples: Sequence[Sample], random: np.random.Generator) -> Batch:
        """{"left", "right": uint8 BCHW, "colours": BC256, what each value becomes}."""
        parts = [self._drawn(sample, random.random(DRAWS)) for sample in samples]
        batch = {
            view: from_numpy(np.stack([part[number].numpy() for part in parts]))
            for number, view in enumerate(("left", "right"))
        }
        return batch | {"colours": torch.stack([colours_CV for _, _, colours_CV in parts])}

    def _drawn(self, sample: Sample, draws: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        left_CHW, right_CHW = (from_numpy(sample[view]).permute(2, 0, 1).contiguous() for view in ("left", "right"))
        if self.settings.augment and self.settings.smallest_crop < 1:
            window = further_draws(draws, CROP_DRAWS)
            left_CHW, right_CHW = cropped_pair(left_CHW, right_CHW, self.settings.smallest_crop, window)
        if self.settings.augment and draws[0] < 0.5:
            left_CHW, right_CHW = mirrored_pair(left_CHW, right_CHW)
        is_recoloured = self.settings.augment and draws[1] < 0.5
        return left_CHW, right_CHW, recoloured(draws[2:]) if is_recoloured else unchanged_colours()

    def augmented(self, batch: Batch) -> Batch:
        return {view: looked_up(batch[view], batch["colours"]) for view in ("left", "right")}

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        return optimizer_of(self.settings, network)

    def rate(self, step: int, steps: int) -> float:
        return rate_at(self.settings, step, steps)

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        left_BCHW, right_BCHW = batch["left"], batch["right"]
        disparities = network(left_BCHW)
        with torch.autocast(left_BCHW.device.type, enabled=False):
            terms = stereo_losses(left_BCHW, right_BCHW, disparities, self.settings.ssim_share)
        loss = terms["photometric"] + self.settings.smoothness_weight * terms["smoothness"]
        return {"loss": loss + self.settings.consistency_weight * terms["consistency"], **terms}

    def scores(self, network: nn.Module, samples: Iterable[Sample]) -> Scores:
        """The metrics of each picture; those of depth only of pictures that have LiDAR returns in the scored region."""
        return joined(self._scored(network, chunk) for chunk in chunks(samples, EVALUATION_BATCH))

    def metrics(self, scores: Scores) -> dict[str, float]:
        """Eigen's metrics with Garg's crop up to 80 m, each the mean over pictures, without scaling to the ground truth.

        `photometric` is the loss of the finest scale, which needs no depth; it is the only metric if no sample has depth.
        `abs_rel_no_flip` is `abs_rel` without the mirror image, if `flip_evaluation` is set.
        """
        return means(scores)

    def _scored(self, network: nn.Module, samples: Sequence[Sample]) -> Scores:
        left_BCHW, right_BCHW = (_stack(network, samples, view) for view in ("left", "right"))
        left_B1HW = network(left_BCHW)[0][:, :1].float()
        rebuilt_BCHW = warp(right_BCHW, -left_B1HW)
        photometric_B = [
            photometric_loss(rebuilt_CHW[None], left_CHW[None], self.settings.ssim_share).item()
            for rebuilt_CHW, left_CHW in zip(rebuilt_BCHW, left_BCHW, strict=True)
        ]
        scores: Scores = {"photometric": np.array(photometric_B)}
        plain = _depth_scores(samples, left_B1HW)
        if not self.settings.flip_evaluation or not plain:
            return scores | plain
        averaged = _depth_scores(samples, flip_averaged(network, left_BCHW, left_B1HW))
        return scores | averaged | {"abs_rel_no_flip": plain["abs_rel"]}

    def pictures(self, network: nn.Module, samples: Sequence[Sample]) -> Tensor:
        """A row for each sample: the picture, its disparity from dark (far) to bright (near), and LiDAR on the picture."""
        left_BCHW = _stack(network, samples, "left")
        disparity_B1HW = network(left_BCHW)[0].float()[:, :1]
        if self.settings.flip_evaluation:
            disparity_B1HW = flip_averaged(network, left_BCHW, disparity_B1HW)
        rows = zip(samples, left_BCHW.cpu(), disparity_B1HW.cpu(), strict=True)
        return torch.cat([_row(*row) for row in rows], dim=1)


def further_draws(draws: np.ndarray, count: int) -> np.ndarray:
    """More numbers in [0, 1) that follow from those of a sample: to draw them from its generator would change the batches of
    trainings without crops."""
    return np.random.default_rng(draws.view(np.uint64)).random(count)


def _stack(network: nn.Module, samples: Sequence[Sample], view: str) -> Tensor:
    device = next(network.parameters()).device
    return torch.stack([to_input(sample[view]) for sample in samples]).to(device)


def _depth_scores(samples: Sequence[Sample], disparity_B1HW: Tensor) -> Scores:
    """`depth_errors` of the samples that have LiDAR returns in the scored region."""
    scores: dict[str, list[float]] = defaultdict(list)
    for sample, disparity_1HW in zip(samples, disparity_B1HW, strict=True):
        if "depth" not in sample or not is_scored(depth_of(sample)).any():
            continue
        width_px, focal_px, baseline_m, _ = sample["camera"].tolist()
        full_B1HW = F.interpolate(disparity_1HW[None], sample["depth"].shape, mode="bilinear", align_corners=False)
        depth_HW = disparity_to_depth(full_B1HW, focal_px, baseline_m, width_px)[0, 0].cpu().numpy()
        for name, score in depth_errors(depth_HW, depth_of(sample)).items():
            scores[name].append(score)
    return {name: np.array(values) for name, values in scores.items()}


def _row(sample: Sample, left_CHW: Tensor, disparity_1HW: Tensor) -> Tensor:
    left_CHW = (left_CHW * 255).round().to(torch.uint8)
    nearest = float(disparity_1HW.quantile(0.98))
    shown = [left_CHW, coloured(disparity_1HW[0] / nearest)]
    shown.append(_with_returns(sample, left_CHW, nearest) if "depth" in sample else torch.zeros_like(left_CHW))
    return torch.cat(shown, dim=2)


def _with_returns(sample: Sample, left_CHW: Tensor, nearest: float) -> Tensor:
    """The picture with a coloured dot at every LiDAR return, in the colours of the disparity beside it."""
    width_px, focal_px, baseline_m, _ = sample["camera"].tolist()
    depth_HW = from_numpy(depth_of(sample))
    disparity_HW = torch.where(depth_HW > 0, focal_px * baseline_m / (depth_HW.clamp_min(NEAREST_M) * width_px), 0.0)
    dots_HW = F.adaptive_max_pool2d(disparity_HW[None, None].float(), left_CHW.shape[-2:])[0, 0]
    return torch.where(dots_HW > 0, coloured(dots_HW / nearest), left_CHW)
