"""Train a cascaded refinement network on facades: a drawing of where walls, windows and doors are to a photograph.

Chen & Koltun 2017. L1 between the features of what was made and of the photograph, at the picture itself and the second
convolution of each block (after its ReLU: what their code calls conv1_2 is that), Adam 1e-4, batch 1, 200 epochs.
With `outputs` pictures a layout, each class of each layout is only charged with the one that got it best.

The layers weigh in with equal parts. The paper rescales them after 100 epochs; here the distances between different
photographs of the training set are taken once, before training, as the measure of each layer: a loss of 1 is as far off
as another photograph. `loss="l2"` is the twin that shows what this is for: squared error of pixels, which makes blur.

jobs/recipes/crn-facades.yaml is for one CPU core at 128 x 128: windows get frames and sills, walls no bricks yet, and nearly
all facades the mean colour. Its twin in crn-facades-l2.yaml ends at a perceptual loss of 0.676 beside 0.637 and blurs both.

Legend: B batch, O outputs, K classes, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from pixelmill.workers.errors import DataError, ModelError
from pixelmill.workers.losses.perceptual import moved
from pixelmill.workers.networks.crn import CascadedRefinement, CrnConfig
from pixelmill.workers.networks.vgg import Vgg, find_published, is_published, load_vgg
from pixelmill.workers.recipes import PICTURES, Batch, RecipeSettings, Role, Sample, config_from, half_cosine
from pixelmill.workers.recipes.sample_pixels import sample_pixels
from pixelmill.workers.recipes.squares import chunks, in_rows, scaled
from pixelmill.workers.typed_torch import from_numpy, numbers

FACADE_CLASSES: dict[str, tuple[int, int, int]] = {
    "background": (0, 0, 223),
    "facade": (0, 48, 255),
    "window": (0, 128, 255),
    "door": (0, 207, 255),
    "cornice": (32, 255, 223),
    "sill": (112, 255, 143),
    "balcony": (191, 255, 64),
    "blind": (255, 239, 0),
    "deco": (255, 159, 0),
    "molding": (255, 80, 0),
    "pillar": (255, 0, 0),
    "shop": (175, 0, 0),
}
"""The classes of the CMP facades (Tylecek & Sara 2013) and what they are drawn in, red, green, blue: every fifth colour of
the old 64-step rainbow, as in the copy with the photograph beside its layout. A cornice is above a window, a sill below."""

COLOURS_K3 = np.array(list(FACADE_CLASSES.values()), np.uint8)
NEAR_LEVELS, FOREIGN_SHARE = 40, 0.75
"""A layout is none where so many pixels are further than this from every class's colour; in 500 files it is under 0.48."""

LAYERS = ("relu1_2", "relu2_2", "relu3_2", "relu4_2", "relu5_2")
PIXELS = "pixels"
"""The picture itself, which the paper counts as a layer too."""

MEASURED_PHOTOGRAPHS = 64
HINDSIGHT_MEAN_SHARE = 0.001
"""Of the loss, what is the mean over outputs: one that is never the best is still drawn along, as in their code."""


class CrnSettings(RecipeSettings):
    """`vgg` are the weights of the loss network. Pictures are start_px x 2^(number of widths - 1).

    The defaults are the paper's for 256 x 512. `layer_weights` are for the pixels and the five layers, measured on the
    training set if None. `smallest_crop` is the least share of a side that a training crop keeps; 1 is none.
    """

    vgg: str
    epochs: PositiveFloat = 200
    batch: PositiveInt = 1
    learning_rate: PositiveFloat = 1e-4
    schedule: Literal["constant", "cosine"] = "constant"
    loss: Literal["perceptual", "l2"] = "perceptual"
    layer_weights: tuple[PositiveFloat, ...] | None = Field(default=None, min_length=6, max_length=6)
    start_px: tuple[int, int] = (4, 8)
    widths: tuple[int, ...] = (1024, 1024, 1024, 1024, 1024, 512, 512)
    outputs: PositiveInt = 1
    flip: bool = True
    smallest_crop: float = Field(default=1.0, gt=0, le=1)

    @property
    def network(self) -> CrnConfig:
        return config_from(CrnConfig, self, classes=len(FACADE_CLASSES))


class CrnRecipe:
    """Layouts in, photographs out; learned from files that hold the photograph on the left, its layout on the right."""

    NAME: ClassVar[str] = "crn"
    NETWORK: ClassVar[str] = "crn"
    ROLES: ClassVar[tuple[Role, ...]] = PICTURES
    ASSETS: ClassVar[tuple[str, ...]] = ("vgg",)
    JUDGED_WITH: ClassVar[tuple[str, ...]] = ("vgg",)
    GOAL: ClassVar[tuple[str, Literal["min", "max"]]] = ("perceptual_loss", "min")
    Settings: ClassVar[type[RecipeSettings]] = CrnSettings

    def __init__(self, settings: CrnSettings, assets: Mapping[str, Path]) -> None:
        self.settings = settings
        self.assets = assets
        self.layer_weights = settings.layer_weights
        self._vgg: Vgg | None = None

    def network(self) -> CascadedRefinement:
        return CascadedRefinement(self.settings.network).to(memory_format=torch.channels_last)

    def decode(self, files: Mapping[str, bytes]) -> Sample:
        """{"photo": uint8 HWC, "layout": uint8 HW of class ids}, both of the network's size."""
        pixels_CHW = sample_pixels(files["image"])
        if pixels_CHW.shape[2] % 2:
            raise DataError(
                f"it is {pixels_CHW.shape[2]} pixels wide, an odd number; give photo and layout of one size side by side"
            )
        photo_CHW, layout_CHW = pixels_CHW.chunk(2, dim=2)
        ids_HW = class_ids(layout_CHW.permute(1, 2, 0).numpy())
        return resized({"photo": photo_CHW.permute(1, 2, 0).numpy(), "layout": ids_HW}, self.settings.network.size_px)

    def check(self, samples: Sequence[Sample], together: int) -> None:
        """Before a training: whether the loss network can be had."""
        self.network()
        with torch.device("cpu"):
            if is_published(self.settings.vgg):
                find_published(self.settings.vgg)
            else:
                self.vgg()

    def prepare(self, samples: Iterable[Sample]) -> dict[str, list[float]]:
        """What the layers weigh, measured on the first training samples: kept with a checkpoint, see `restore`."""
        if self.layer_weights is None:
            photos = [sample["photo"] for sample in islice(samples, MEASURED_PHOTOGRAPHS)]
            self.layer_weights = measured_weights(self.vgg(), photos)
        return {"layer_weights": list(self.layer_weights)}

    def restore(self, prepared: Mapping[str, Sequence[float]]) -> None:
        """Weigh as the run did that `prepared` is of."""
        self.layer_weights = tuple(prepared["layer_weights"])

    def batch(self, samples: Sequence[Sample], random: np.random.Generator) -> Batch:
        """{"photos": uint8 BCHW, "layouts": uint8 BHW}, mirrored and cropped together."""
        augmented = [augment(sample, self.settings, random) for sample in samples]
        return _stacked(augmented)

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(network.parameters(), self.settings.learning_rate)

    def rate(self, step: int, steps: int) -> float:
        return 1.0 if self.settings.schedule == "constant" else half_cosine(step, steps)

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """{"loss"}: hindsight over outputs and classes of the distance that the settings name."""
        photos_BCHW, layouts_BKHW = scaled(batch["photos"]), one_hot(batch["layouts"])
        made_BOCHW = network(layouts_BKHW)
        maps = self._distance_maps(made_BOCHW, photos_BCHW, self.settings.loss)
        return {"loss": hindsight(maps, layouts_BKHW, HINDSIGHT_MEAN_SHARE).mean()}

    def evaluate(self, network: nn.Module, samples: Iterable[Sample]) -> dict[str, float]:
        """Means over samples, clamped to pictures: perceptual_loss (1: as far as another photograph), l2, sharpness.

        Both distances are in hindsight; `sharpness` is the mean gradient magnitude over that of the photographs.
        """
        device = next(network.parameters()).device
        sums, count = dict[str, float](), 0
        for chunk in chunks(samples, self.settings.batch):
            batch = {name: tensor.to(device) for name, tensor in _stacked(chunk).items()}
            for name, value_B in self._judge(network, batch).items():
                sums[name] = sums.get(name, 0.0) + value_B.sum().item()
            count += len(chunk)
        means = {name: total / count for name, total in sums.items()}
        sharpness = means.pop("edges") / means.pop("edges_photo")
        return means | {"sharpness": sharpness}

    def pictures(self, network: nn.Module, samples: Sequence[Sample]) -> Tensor:
        """Layouts over what was made of them, each output a row, over the photographs."""
        batch = {name: tensor.to(next(network.parameters()).device) for name, tensor in _stacked(samples).items()}
        made_BOCHW = network(one_hot(batch["layouts"]))
        coloured_BCHW = from_numpy(COLOURS_K3)[batch["layouts"].cpu().long()].permute(0, 3, 1, 2) / 255
        return in_rows(coloured_BCHW, *made_BOCHW.unbind(1), scaled(batch["photos"]))

    def _judge(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        photos_BCHW, layouts_BKHW = scaled(batch["photos"]), one_hot(batch["layouts"])
        made_BOCHW = network(layouts_BKHW).float().clamp(0, 1)
        perceptual, squared = (self._distance_maps(made_BOCHW, photos_BCHW, loss) for loss in ("perceptual", "l2"))
        return {
            "perceptual_loss": hindsight(perceptual, layouts_BKHW),
            "l2": hindsight(squared, layouts_BKHW),
            "edges": mean_edge(made_BOCHW).mean(1),
            "edges_photo": mean_edge(photos_BCHW),
        }

    def _distance_maps(self, made_BOCHW: Tensor, photos_BCHW: Tensor, loss: str) -> list[Tensor]:
        if loss == "l2":
            return [(made_BOCHW.float() - photos_BCHW[:, None]).square().mean(2)]
        if self.layer_weights is None:
            raise ModelError("crn: its layers are not weighed yet; call prepare(samples) first, or set layer_weights")
        maps = feature_distances(moved(self.vgg(), photos_BCHW.device), made_BOCHW, photos_BCHW)
        return [weight * map_BOHW for weight, map_BOHW in zip(self.layer_weights, maps, strict=True)]

    def vgg(self) -> Vgg:
        """The loss network, loaded where it is first asked for: who only decodes needs none."""
        if self._vgg is None:
            with torch.inference_mode(False):
                source = self.assets.get("vgg", self.settings.vgg)
                self._vgg = load_vgg(source).to(memory_format=torch.channels_last)
        return self._vgg


# ------------------------------------------------------------------------------------------------------------- losses


def feature_distances(vgg: nn.Module, made_BOCHW: Tensor, photos_BCHW: Tensor) -> list[Tensor]:
    """Absolute differences averaged over channels, BOHW: of the pixels, then of LAYERS, each at its own grid."""
    with torch.no_grad():
        truths = {PIXELS: photos_BCHW, **vgg(photos_BCHW, LAYERS)}
    images_BOCHW = made_BOCHW.flatten(0, 1)
    made = {PIXELS: images_BOCHW, **vgg(images_BOCHW, LAYERS)}
    outputs = made_BOCHW.shape[1]
    return [
        (_by_output(made[name].float(), outputs) - truth_BCHW.float()[:, None]).abs().mean(2)
        for name, truth_BCHW in truths.items()
    ]


def _by_output(maps_NCHW: Tensor, outputs: int) -> Tensor:
    """BOCHW of maps that lie layout by layout."""
    return maps_NCHW.view(-1, outputs, *maps_NCHW.shape[1:])


def hindsight(maps_BOHW: Sequence[Tensor], layouts_BKHW: Tensor, mean_share: float = 0.0) -> Tensor:
    """The distance of a layout's outputs from its photograph, each class charged with its best output: float32 B.

    Equation 5 of the paper: sum over classes of the minimum over outputs of the sum over layers. With one output, the
    sum over layers of the maps' means. `mean_share` of the minimum is the mean over outputs instead.
    """
    costs_BOK = torch.stack([_class_costs(map_BOHW, layouts_BKHW) for map_BOHW in maps_BOHW]).sum(0)
    best_B, mean_B = costs_BOK.amin(1).sum(1), costs_BOK.mean(1).sum(1)
    return best_B + mean_share * (mean_B - best_B)


def _class_costs(map_BOHW: Tensor, layouts_BKHW: Tensor) -> Tensor:
    """What each class adds to the mean of the map, BOK; a cell counts for its classes by their share of its area."""
    height, width = map_BOHW.shape[2:]
    shares_BKHW = F.adaptive_avg_pool2d(layouts_BKHW.float(), (height, width))
    with torch.autocast(map_BOHW.device.type, enabled=False):
        return torch.einsum("bohw,bkhw->bok", map_BOHW.float(), shares_BKHW) / (height * width)


@torch.no_grad()
def measured_weights(vgg: nn.Module, photos_HWC: Sequence[np.ndarray]) -> tuple[float, ...]:
    """One over each layer's mean distance between a photograph and the next one, and over the number of layers."""
    if len(photos_HWC) < 2:
        raise DataError("crn weighs its layers by how two photographs differ, and there are less than two; add some")
    device = next(vgg.parameters()).device
    sums = torch.zeros(1 + len(LAYERS), device=device)
    for pair in pairwise(photos_HWC):
        first_BCHW, second_BCHW = (scaled(_channels_first([photo_HWC]).to(device)) for photo_HWC in pair)
        sums += torch.stack([map_BOHW.mean() for map_BOHW in feature_distances(vgg, first_BCHW[None], second_BCHW)])
    means = sums / (len(photos_HWC) - 1)
    return tuple(numbers(1 / (len(means) * means)))


def mean_edge(images: Tensor) -> Tensor:
    """Mean length of the gradient of the luminance, per pixel, over ...CHW: a blurred picture has less of it."""
    grey = images.mean(-3)
    down, across = grey.diff(dim=-2)[..., :, :-1], grey.diff(dim=-1)[..., :-1, :]
    return (down.square() + across.square()).sqrt().mean((-2, -1))


# ------------------------------------------------------------------------------------------------- pictures -> tensors


def class_ids(layout_HWC: np.ndarray) -> np.ndarray:
    """The class whose colour is nearest, uint8 HW; DataError where hardly a pixel has the colour of a class.

    JPEG changes every colour a little and mixes two along a border, which may give a third class's: a rim of one pixel.
    Giving such pixels the class of a neighbour was tried, and it swallows what is only two pixels wide.
    """
    squares_HWK = np.square(layout_HWC[:, :, None].astype(np.int32) - COLOURS_K3).sum(3)
    if (squares_HWK.min(2) > NEAR_LEVELS**2).mean() > FOREIGN_SHARE:
        raise DataError("its right half has not the colours of the CMP facades; give photo and layout side by side")
    return squares_HWK.argmin(2).astype(np.uint8)


def resized(sample: Sample, size_px: tuple[int, int]) -> Sample:
    """The photograph with antialiasing, the class ids by nearest neighbour, each a copy of its own."""
    photo_HWC, ids_HW = np.array(sample["photo"]), np.array(sample["layout"])
    if ids_HW.shape != size_px:
        photo_1CHW = from_numpy(photo_HWC).permute(2, 0, 1)[None]
        photo_1CHW = F.interpolate(photo_1CHW, size_px, mode="bilinear", antialias=True)
        photo_HWC = np.ascontiguousarray(photo_1CHW[0].permute(1, 2, 0).numpy())
        ids_HW = F.interpolate(from_numpy(ids_HW)[None, None], size_px, mode="nearest-exact")[0, 0].numpy()
    return {"photo": photo_HWC, "layout": ids_HW}


def augment(sample: Sample, settings: CrnSettings, random: np.random.Generator) -> Sample:
    """Photo and layout cropped and mirrored alike; draws four numbers, whatever the settings."""
    share, down, right, mirror = random.random(4)
    height, width = sample["layout"].shape
    kept = 1 - share * (1 - settings.smallest_crop)
    rows, columns = _span(height, kept, down), _span(width, kept, right)
    cropped = {name: array[rows, columns] for name, array in sample.items()}
    if settings.flip and mirror < 0.5:
        cropped = {name: array[:, ::-1] for name, array in cropped.items()}
    return resized(cropped, (height, width))


def _span(side_px: int, kept: float, place: float) -> slice:
    length = max(1, round(side_px * kept))
    start = int(place * (side_px - length + 1))
    return slice(start, start + length)


def _stacked(samples: Sequence[Sample]) -> Batch:
    layouts_BHW = from_numpy(np.stack([sample["layout"] for sample in samples]))
    return {"photos": _channels_first([sample["photo"] for sample in samples]), "layouts": layouts_BHW}


def _channels_first(photos_HWC: Sequence[np.ndarray]) -> Tensor:
    return from_numpy(np.stack(photos_HWC)).permute(0, 3, 1, 2)


def one_hot(layouts_BHW: Tensor) -> Tensor:
    """Class ids to the share of each class, 0 or 1: float BKHW, channels last."""
    return F.one_hot(layouts_BHW.long(), len(FACADE_CLASSES)).permute(0, 3, 1, 2).float()
