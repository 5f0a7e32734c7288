"""Train Monodepth: depth from one picture, learned from stereo pairs without any measured depth.

Godard et al. 2017 (arXiv:1609.03677). Each view is rebuilt from the other one by the disparity that the network gives;
what is descended is how badly that looks, how rough the disparity is and how far the two views' disparities disagree.

Two departures from the authors' code, both to what the paper says: smoothness counts the gradients along x and along y
(a list addition in the code drops y), and a mirrored pair is swapped as well, so that its left stays its left.

Legend: B batch, C = 3 colours, H height, W width, 2 the left and the right view, N LiDAR returns.
Disparities are fractions of the width, depths metres.
"""

from __future__ import annotations

import io
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from pixelmill.workers.codecs.decode import MAX_PIXELS, decode_picture
from pixelmill.workers.errors import DataError, RowError
from pixelmill.workers.networks.monodepth import MAX_DISPARITY, Monodepth, MonodepthConfig
from pixelmill.workers.recipes import Batch, RecipeSettings, Sample
from pixelmill.workers.recipes.squares import chunks

DRAWS = 7  # random numbers for each sample: mirror, change colours, gamma, brightness, red, green, blue
NEAREST_M, FARTHEST_M = 1e-3, 80.0
GARG_CROP = (0.40810811, 0.99189189, 0.03594771, 0.96405229)  # top, bottom, left, right; Garg et al. 2016
EVALUATION_BATCH = 8
CAMERA = ("width_px", "focal_px", "baseline_m", "depth_png_scale")

MAGMA = ("000004", "1d1147", "51127c", "822681", "b63679", "e65164", "fb8861", "fec287", "fcfdbf")
"""Nine colours of matplotlib's magma, evenly spaced, from far to near."""


class MonodepthSettings(RecipeSettings):
    """The paper's: 50 epochs of batches of 8 at 512x256, Adam at 1e-4, halved after 3/5 and 4/5.

    Pairs are resized to `height_px` x `width_px`. `width` is the network's, 32 in the paper; `skips` the levels joined.
    `first_disparity` is where a new network begins, 0.15 in the paper. For a road that is 2 m; from there the views do
    not match, and hundreds of steps go by before the loss sees which way to go. `flip_evaluation` averages a picture's
    disparity with that of its mirror image, as the paper's "pp".
    """

    epochs: PositiveFloat = 50
    batch: PositiveInt = 8
    learning_rate: PositiveFloat = 1e-4
    height_px: Annotated[int, Field(ge=32)] = 256
    width_px: Annotated[int, Field(ge=32)] = 512
    width: PositiveInt = 32
    skips: tuple[int, ...] = (1, 2, 3, 4, 5, 6)
    first_disparity: Annotated[float, Field(gt=0, lt=MAX_DISPARITY)] = 0.15
    ssim_share: Annotated[float, Field(ge=0, le=1)] = 0.85
    smoothness_weight: Annotated[float, Field(ge=0)] = 0.1
    consistency_weight: Annotated[float, Field(ge=0)] = 1.0
    augment: bool = True
    flip_evaluation: bool = True


class MonodepthRecipe:
    """One sample is a rectified pair, with LiDAR depth where there is some, which is looked at in evaluation only."""

    NAME: ClassVar[str] = "monodepth"
    NETWORK: ClassVar[str] = "monodepth"
    LAYOUT: ClassVar[Literal["stereo"]] = "stereo"
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
        """`left` and `right`, uint8 HWC, resized; `depth`, uint16 HW, as it was, and `camera`, where there are some."""
        pixels = {view: _decode_view(view, files) for view in ("left", "right")}
        if pixels["left"].shape != pixels["right"].shape:
            sizes = " and ".join(f"{pixels[view].shape[2]}x{pixels[view].shape[1]}" for view in ("left", "right"))
            raise DataError(f"left and right are {sizes} px; give rectified pairs of one size")
        sample: Sample = {view: self._resized(pixels_CHW) for view, pixels_CHW in pixels.items()}
        if "depth" in files:
            sample["depth"] = _decode_depth(files["depth"])
            sample["camera"] = _read_camera(files)
        return sample

    def _resized(self, pixels_CHW: Tensor) -> np.ndarray:
        size_px = (self.settings.height_px, self.settings.width_px)
        resized_BCHW = F.interpolate(pixels_CHW[None], size_px, mode="bilinear", antialias=True)
        return resized_BCHW[0].permute(1, 2, 0).contiguous().numpy()

    def batch(self, samples: Sequence[Sample], random: np.random.Generator) -> Batch:
        pairs = [self._augmented(sample, random.random(DRAWS)) for sample in samples]
        return {view: torch.stack([pair[number] for pair in pairs]) for number, view in enumerate(("left", "right"))}

    def _augmented(self, sample: Sample, draws: np.ndarray) -> tuple[Tensor, Tensor]:
        left_CHW, right_CHW = to_input(sample["left"]), to_input(sample["right"])
        if not self.settings.augment:
            return left_CHW, right_CHW
        if draws[0] < 0.5:
            left_CHW, right_CHW = mirrored_pair(left_CHW, right_CHW)
        if draws[1] < 0.5:
            left_CHW, right_CHW = (recoloured(view_CHW, draws[2:]) for view_CHW in (left_CHW, right_CHW))
        return left_CHW, right_CHW

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(network.parameters(), self.settings.learning_rate)

    def rate(self, step: int, steps: int) -> float:
        return 0.5 ** ((step >= steps * 3 / 5) + (step >= steps * 4 / 5))

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        left_BCHW, right_BCHW = batch["left"], batch["right"]
        disparities = network(left_BCHW)
        with torch.autocast(left_BCHW.device.type, enabled=False):
            terms = stereo_losses(left_BCHW, right_BCHW, disparities, self.settings.ssim_share)
        loss = terms["photometric"] + self.settings.smoothness_weight * terms["smoothness"]
        return {"loss": loss + self.settings.consistency_weight * terms["consistency"], **terms}

    def evaluate(self, network: nn.Module, samples: Iterable[Sample]) -> dict[str, float]:
        """Eigen's metrics with Garg's crop up to 80 m, each the mean over pictures; no scale is taken from the truth.

        `photometric` is the loss of the finest scale, which needs no depth: where no sample has any, it is all there is.
        `abs_rel_no_flip` is `abs_rel` without the mirror image, where that is used.
        """
        scores: dict[str, list[float]] = defaultdict(list)
        for chunk in chunks(samples, EVALUATION_BATCH):
            for name, values in self._scores(network, chunk).items():
                scores[name] += values
        if not scores:
            raise DataError("no pair is held out, so there is nothing to score; hold out one at least")
        return {name: float(np.mean(values)) for name, values in scores.items()}

    def _scores(self, network: nn.Module, samples: Sequence[Sample]) -> dict[str, list[float]]:
        left_BCHW, right_BCHW = (_stack(network, samples, view) for view in ("left", "right"))
        left_B1HW = network(left_BCHW)[0][:, :1].float()
        rebuilt_BCHW = warp(right_BCHW, -left_B1HW)
        scores: dict[str, list[float]] = defaultdict(list)
        for rebuilt_CHW, left_CHW in zip(rebuilt_BCHW, left_BCHW, strict=True):
            scores["photometric"].append(
                photometric_loss(rebuilt_CHW[None], left_CHW[None], self.settings.ssim_share).item()
            )
        plain = _depth_scores(samples, left_B1HW)
        if not self.settings.flip_evaluation or not plain:
            return scores | plain
        averaged = _depth_scores(samples, flip_averaged(network, left_BCHW, left_B1HW))
        return scores | averaged | {"abs_rel_no_flip": plain["abs_rel"]}

    def pictures(self, network: nn.Module, samples: Sequence[Sample]) -> Tensor:
        """A row for each sample: the picture, its disparity from dark (far) to bright (near), LiDAR on the picture."""
        left_BCHW = _stack(network, samples, "left")
        disparity_B1HW = network(left_BCHW)[0].float()[:, :1]
        if self.settings.flip_evaluation:
            disparity_B1HW = flip_averaged(network, left_BCHW, disparity_B1HW)
        rows = zip(samples, left_BCHW.cpu(), disparity_B1HW.cpu(), strict=True)
        return torch.cat([_row(*row) for row in rows], dim=1)


# ----------------------------------------------------------------------------------------------------------- samples


def _decode_view(view: str, files: Mapping[str, bytes]) -> Tensor:
    try:
        return decode_picture(files[view])
    except RowError as error:
        raise DataError(f"{view}: {error}") from error


def _decode_depth(data: bytes) -> np.ndarray:
    """The values of a 16-bit PNG, uint16 HW, 0 where there is no LiDAR return; `decode_picture` would keep 8 bits."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            if not picture.mode.startswith("I;16"):
                raise DataError(f"depth: a PNG of mode {picture.mode}; write depth as 16-bit grey PNG, metres x 256")
            if picture.width * picture.height > MAX_PIXELS:
                raise DataError(f"depth: {picture.width} x {picture.height} pixels are over {MAX_PIXELS:,}; cut it")
            return np.asarray(picture).astype(np.uint16)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"depth: not a whole PNG ({error}); write depth as 16-bit grey PNG, metres x 256") from error


def _read_camera(files: Mapping[str, bytes]) -> np.ndarray:
    """Width in pixels, focal length in pixels of that width, baseline in metres, depth value of a metre: float64."""
    if "calibration" not in files:
        raise DataError("depth without calib.json; give width_px, focal_px and baseline_m of the cameras")
    try:
        calibration = json.loads(files["calibration"])
    except ValueError as error:
        raise DataError(
            f"calib.json: not JSON ({error}); write width_px, focal_px and baseline_m as numbers"
        ) from error
    if not isinstance(calibration, dict):
        raise DataError("calib.json: not a mapping; write width_px, focal_px and baseline_m as numbers")
    stated = {name: calibration.get(name) for name in CAMERA[:-1]} | {CAMERA[-1]: _depth_png_scale(calibration)}
    for name, value in stated.items():
        if not isinstance(value, int | float) or not value > 0:
            raise DataError(f"calib.json: {name} is {value!r}; write a number over 0")
    return np.array(list(stated.values()), dtype=np.float64)


def _depth_png_scale(calibration: Mapping[str, Any]) -> Any:
    """256 where nothing is said, as in KITTI's, else what is said, as a number or in a text such as "value / 256"."""
    stated = calibration.get(CAMERA[-1], 256)
    divisor = re.search(r"/\s*(\d+(\.\d+)?)", stated) if isinstance(stated, str) else None
    return float(divisor[1]) if divisor else stated


def depth_of(sample: Sample) -> np.ndarray:
    """Metres, float32 HW, 0 where there is no LiDAR return."""
    return sample["depth"].astype(np.float32) / np.float32(sample["camera"][3])


def to_input(pixels_HWC: np.ndarray) -> Tensor:
    """uint8 HWC as the network takes it: float32 CHW in [0, 1]."""
    return torch.from_numpy(pixels_HWC).permute(2, 0, 1).float() / 255


def _stack(network: nn.Module, samples: Sequence[Sample], view: str) -> Tensor:
    device = next(network.parameters()).device
    return torch.stack([to_input(sample[view]) for sample in samples]).to(device)


def mirrored_pair(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """The pair as a mirror shows it: what the right eye saw is now on the left, so the views change places."""
    return right.flip(-1), left.flip(-1)


def recoloured(view_CHW: Tensor, draws: np.ndarray) -> Tensor:
    """Gamma 0.8 to 1.2, brightness 0.5 to 2, each colour 0.8 to 1.2, by five numbers in [0, 1); both views get the same."""
    gamma, brightness = 0.8 + 0.4 * draws[0], 0.5 + 1.5 * draws[1]
    colours_C11 = torch.from_numpy(0.8 + 0.4 * draws[2:5]).float()[:, None, None]
    return (view_CHW**gamma * brightness * colours_C11).clamp(0, 1)


# ------------------------------------------------------------------------------------------------------------- losses


def stereo_losses(
    left_BCHW: Tensor, right_BCHW: Tensor, disparities: Sequence[Tensor], ssim_share: float = 0.85
) -> dict[str, Tensor]:
    """The three terms of eq. 1 without their weights, each summed over both views and all scales.

    `disparities` are B2HW, finest first. Smoothness of scale s is divided by 2^s, as its weight is in the paper.
    """
    totals: dict[str, Tensor] = {}
    for scale, disparity_B2HW in enumerate(disparities):
        left_BCHW, right_BCHW = (_shrunk(view_BCHW, disparity_B2HW.shape[-2:]) for view_BCHW in (left_BCHW, right_BCHW))
        for name, term in _losses_of_scale(left_BCHW, right_BCHW, disparity_B2HW, ssim_share).items():
            weight = 0.5**scale if name == "smoothness" else 1.0
            totals[name] = totals.get(name, 0.0) + weight * term
    return totals


def _shrunk(view_BCHW: Tensor, size_HW: torch.Size) -> Tensor:
    """The mean over the area of each new pixel."""
    return view_BCHW if view_BCHW.shape[-2:] == size_HW else F.interpolate(view_BCHW, size_HW, mode="area")


def _losses_of_scale(left_BCHW: Tensor, right_BCHW: Tensor, both_B2HW: Tensor, ssim_share: float) -> dict[str, Tensor]:
    left_B1HW, right_B1HW = both_B2HW.split(1, dim=1)
    rebuilt_left_BCHW, rebuilt_right_BCHW = warp(right_BCHW, -left_B1HW), warp(left_BCHW, right_B1HW)
    consistency = (warp(right_B1HW, -left_B1HW) - left_B1HW).abs().mean()
    consistency = consistency + (warp(left_B1HW, right_B1HW) - right_B1HW).abs().mean()
    return {
        "photometric": photometric_loss(rebuilt_left_BCHW, left_BCHW, ssim_share)
        + photometric_loss(rebuilt_right_BCHW, right_BCHW, ssim_share),
        "smoothness": smoothness_loss(left_B1HW, left_BCHW) + smoothness_loss(right_B1HW, right_BCHW),
        "consistency": consistency,
    }


def warp(maps_BCHW: Tensor, shift_B1HW: Tensor) -> Tensor:
    """Maps that show at pixel x what `maps_BCHW` has at x + shift * W: bilinear, the edges repeated.

    The left view is `warp(right, -disparity_left)`, the right view `warp(left, +disparity_right)`.
    """
    _, _, height, width = maps_BCHW.shape
    options = {"device": maps_BCHW.device, "dtype": shift_B1HW.dtype}
    x_W = (2 * torch.arange(width, **options) + 1) / width - 1  # pixel centres; the picture is 2 wide, from -1 to 1
    y_H = (2 * torch.arange(height, **options) + 1) / height - 1
    x_BHW = x_W + 2 * shift_B1HW[:, 0]
    grid_BHW2 = torch.stack((x_BHW, y_H[:, None].expand_as(x_BHW)), dim=-1)
    return F.grid_sample(maps_BCHW.to(grid_BHW2.dtype), grid_BHW2, padding_mode="border", align_corners=False)


def photometric_loss(rebuilt_BCHW: Tensor, view_BCHW: Tensor, ssim_share: float = 0.85) -> Tensor:
    """Eq. 2: a share of (1 - SSIM) / 2 and the rest of the absolute difference, both means over pixels."""
    difference = (rebuilt_BCHW - view_BCHW).abs().mean()
    return ssim_share * ssim_distance(rebuilt_BCHW, view_BCHW).mean() + (1 - ssim_share) * difference


def ssim_distance(first_BCHW: Tensor, second_BCHW: Tensor) -> Tensor:
    """(1 - SSIM) / 2 in [0, 1] with a plain mean over 3x3 pixels for a window; a pixel smaller at each edge."""
    mean_x, mean_y = _mean_3x3(first_BCHW), _mean_3x3(second_BCHW)
    variance_x = _mean_3x3(first_BCHW.square()) - mean_x.square()
    variance_y = _mean_3x3(second_BCHW.square()) - mean_y.square()
    covariance = _mean_3x3(first_BCHW * second_BCHW) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    above = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    below = (mean_x.square() + mean_y.square() + c1) * (variance_x + variance_y + c2)
    return ((1 - above / below) / 2).clamp(0, 1)


def _mean_3x3(maps_BCHW: Tensor) -> Tensor:
    """`avg_pool2d(maps, 3, 1)` in two passes, which is three to five times as fast on a CPU."""
    rows_BCHW = maps_BCHW[..., :-2] + maps_BCHW[..., 1:-1] + maps_BCHW[..., 2:]
    return (rows_BCHW[..., :-2, :] + rows_BCHW[..., 1:-1, :] + rows_BCHW[..., 2:, :]) / 9


def smoothness_loss(disparity_B1HW: Tensor, view_BCHW: Tensor) -> Tensor:
    """Eq. 3: gradients of the disparity along x and along y, excused where the picture has gradients too."""
    along_x, along_y = (_edge_aware_gradient(disparity_B1HW, view_BCHW, axis) for axis in (-1, -2))
    return along_x + along_y


def _edge_aware_gradient(disparity_B1HW: Tensor, view_BCHW: Tensor, axis: int) -> Tensor:
    """The mean of |d'| exp(-|I'|), |I'| being the mean over colours."""
    edges_B1HW = view_BCHW.diff(dim=axis).abs().mean(1, keepdim=True)
    return (disparity_B1HW.diff(dim=axis).abs() * torch.exp(-edges_B1HW)).mean()


# --------------------------------------------------------------------------------------------------- depth and metrics


def flip_averaged(network: nn.Module, images_BCHW: Tensor, disparity_B1HW: Tensor) -> Tensor:
    """The mean of the disparity and of that of the mirror image, at the left and right edge of the better one alone.

    The paper's post-processing: the left view's left edge is not in the right view, so the 5 % there come from the
    mirror image, and the 5 % on the right from the picture.
    """
    mirrored_B1HW = network(images_BCHW.flip(-1))[0][:, :1].flip(-1).float()
    x_W = torch.linspace(0, 1, disparity_B1HW.shape[-1], device=disparity_B1HW.device)
    at_left_W = 1 - (20 * (x_W - 0.05)).clamp(0, 1)
    at_right_W = at_left_W.flip(0)
    mean_B1HW = (disparity_B1HW + mirrored_B1HW) / 2
    return at_right_W * disparity_B1HW + at_left_W * mirrored_B1HW + (1 - at_left_W - at_right_W) * mean_B1HW


def disparity_to_depth(disparity_B1HW: Tensor, focal_px: float, baseline_m: float, width_px: float) -> Tensor:
    """Metres, 0.001 to 80, of disparities in fractions of the width; `focal_px` belongs to pictures `width_px` wide."""
    disparity_px_B1HW = (disparity_B1HW * width_px).clamp_min(1e-9)
    return (focal_px * baseline_m / disparity_px_B1HW).clamp(NEAREST_M, FARTHEST_M)


@torch.inference_mode()
def predict_depth(
    network: nn.Module, images_BCHW: Tensor, focal_px: float, baseline_m: float, *, flip: bool = True
) -> Tensor:
    """Depth B1HW in metres of pictures in [0, 1] of any size; `focal_px` is in pixels of these pictures.

    `baseline_m` is that of the pairs the network learned from. The pictures are resized to what it was trained with.
    """
    size_px = list(cast("MonodepthConfig", network.config).size_px)
    resized_BCHW = F.interpolate(images_BCHW, size_px, mode="bilinear", antialias=True)
    disparity_B1HW = network(resized_BCHW)[0][:, :1].float()
    if flip:
        disparity_B1HW = flip_averaged(network, resized_BCHW, disparity_B1HW)
    full_B1HW = F.interpolate(disparity_B1HW, images_BCHW.shape[-2:], mode="bilinear", align_corners=False)
    return disparity_to_depth(full_B1HW, focal_px, baseline_m, images_BCHW.shape[-1])


def _depth_scores(samples: Sequence[Sample], disparity_B1HW: Tensor) -> dict[str, list[float]]:
    """`depth_errors` of those samples that have a depth with returns where it is scored."""
    scores: dict[str, list[float]] = defaultdict(list)
    for sample, disparity_1HW in zip(samples, disparity_B1HW, strict=True):
        if "depth" not in sample or not _is_scored(depth_of(sample)).any():
            continue
        width_px, focal_px, baseline_m, _ = sample["camera"].tolist()
        full_B1HW = F.interpolate(disparity_1HW[None], sample["depth"].shape, mode="bilinear", align_corners=False)
        depth_HW = disparity_to_depth(full_B1HW, focal_px, baseline_m, width_px)[0, 0].cpu().numpy()
        for name, score in depth_errors(depth_HW, depth_of(sample)).items():
            scores[name].append(score)
    return scores


def depth_errors(predicted_HW: np.ndarray, truth_HW: np.ndarray) -> dict[str, float]:
    """Eigen et al. 2014 over the LiDAR returns of one picture that lie in Garg's crop, nearer than 80 m; metres."""
    is_scored_HW = _is_scored(truth_HW)
    predicted_N = np.clip(predicted_HW[is_scored_HW], NEAREST_M, FARTHEST_M).astype(np.float64)
    truth_N = truth_HW[is_scored_HW].astype(np.float64)
    difference_N, ratio_N = predicted_N - truth_N, np.maximum(predicted_N / truth_N, truth_N / predicted_N)
    return {
        "abs_rel": float(np.mean(np.abs(difference_N) / truth_N)),
        "sq_rel": float(np.mean(difference_N**2 / truth_N)),
        "rmse": float(np.sqrt(np.mean(difference_N**2))),
        "rmse_log": float(np.sqrt(np.mean((np.log(predicted_N) - np.log(truth_N)) ** 2))),
        **{f"d{power}": float(np.mean(ratio_N < 1.25**power)) for power in (1, 2, 3)},
    }


def _is_scored(truth_HW: np.ndarray) -> np.ndarray:
    """True at the returns that count: in Garg's crop, from 1 mm to 80 m."""
    height, width = truth_HW.shape
    top, bottom, left, right = np.multiply(GARG_CROP, (height, height, width, width)).astype(int)
    is_inside_HW = np.zeros(truth_HW.shape, dtype=bool)
    is_inside_HW[top:bottom, left:right] = True
    return is_inside_HW & (truth_HW > NEAREST_M) & (truth_HW < FARTHEST_M)


def row_mean_depth(samples: Iterable[Sample]) -> np.ndarray:
    """The mean depth of each row of some training depths, H: what one knows of a road without looking at the picture.

    Rows without a return get their neighbours' depth. As a prediction, `depth_errors(np.broadcast_to(...))` is the
    baseline that a network has to beat.
    """
    depths_NHW = np.stack([depth_of(sample) for sample in samples])
    counts_H = (depths_NHW > 0).sum((0, 2))
    means_H = depths_NHW.sum((0, 2)) / np.maximum(counts_H, 1)
    rows_H = np.arange(len(means_H))
    return np.interp(rows_H, rows_H[counts_H > 0], means_H[counts_H > 0])


def disparity_errors(predicted_px_HW: np.ndarray, truth_px_HW: np.ndarray) -> dict[str, float]:
    """Mean error in pixels, and the share of pixels more than 3 px off, where the truth is known (over 0).

    For pairs that come with a dense disparity in place of depth, such as Middlebury's.
    """
    errors_N = np.abs(predicted_px_HW - truth_px_HW.astype(np.float64))[truth_px_HW > 0]
    return {"epe_px": float(errors_N.mean()), "bad3": float(np.mean(errors_N > 3))}


# ------------------------------------------------------------------------------------------------------------ pictures


def _row(sample: Sample, left_CHW: Tensor, disparity_1HW: Tensor) -> Tensor:
    left_CHW = (left_CHW * 255).round().to(torch.uint8)
    nearest = float(disparity_1HW.quantile(0.98))
    shown = [left_CHW, coloured(disparity_1HW[0] / nearest)]
    shown.append(_with_returns(sample, left_CHW, nearest) if "depth" in sample else torch.zeros_like(left_CHW))
    return torch.cat(shown, dim=2)


def coloured(values_HW: Tensor) -> Tensor:
    """uint8 CHW of values in [0, 1], from black over purple to light yellow."""
    table_NC = np.array([list(bytes.fromhex(colour)) for colour in MAGMA])
    at_HW = values_HW.clamp(0, 1).cpu().numpy() * (len(MAGMA) - 1)
    channels = [np.interp(at_HW, np.arange(len(MAGMA)), table_NC[:, channel]) for channel in range(3)]
    return torch.from_numpy(np.stack(channels).round().astype(np.uint8))


def _with_returns(sample: Sample, left_CHW: Tensor, nearest: float) -> Tensor:
    """The picture with a coloured dot at every LiDAR return, in the colours of the disparity beside it."""
    width_px, focal_px, baseline_m, _ = sample["camera"].tolist()
    depth_HW = torch.from_numpy(depth_of(sample))
    disparity_HW = torch.where(depth_HW > 0, focal_px * baseline_m / (depth_HW.clamp_min(NEAREST_M) * width_px), 0.0)
    dots_HW = F.adaptive_max_pool2d(disparity_HW[None, None].float(), left_CHW.shape[-2:])[0, 0]
    return torch.where(dots_HW > 0, coloured(dots_HW / nearest), left_CHW)
