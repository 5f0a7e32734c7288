"""Train a cascaded refinement network: from a layout of classes to a photograph.

Chen & Koltun 2017: hindsight loss on feature distances (workers/losses/hindsight.py), Adam 1e-4, batch 1, 200 epochs. With
several `outputs` for a layout, the loss of each class of the layout counts only its best output.

All layers have equal weight. The paper rescales them after 100 epochs; here each layer is scaled once, before training, by
the mean distance between different photographs of the training set: a loss of 1 is the distance to another photograph. The
authors' code has VGG-19 with average pooling, and ten times the weight on conv5_2: `vgg` takes weights of VGG-19 too,
`vgg_pooling: average` and `layer_weights` are for the rest. The defaults, max pooling and equal weights, are what the
figures here were made with. `loss="l2"` is the baseline: squared error of pixels, which gives blurred pictures.

jobs/recipes/crn-facades.yaml is for one CPU core at 128 x 128: windows get frames and sills, but walls have no bricks yet,
and nearly all facades have the mean colour. The baseline in crn-facades-l2.yaml ends at a perceptual loss of 0.678 against
0.637 and blurs everything.

Legend: B batch, O outputs, K classes, C channels, H height, W width.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import ClassVar, Literal, cast

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt, TypeAdapter
from torch import Tensor, nn

from pixelmill.workers.drawn_classes import FACADES, Palette, colour_table
from pixelmill.workers.errors import DataError, ModelError
from pixelmill.workers.losses.hindsight import LAYERS, feature_distances, hindsight, mean_edge
from pixelmill.workers.losses.perceptual import moved
from pixelmill.workers.models.picture_model import Classes
from pixelmill.workers.models.vgg_names import is_published
from pixelmill.workers.models.vgg_weights import find_published, load_vgg
from pixelmill.workers.networks.crn import CascadedRefinement, CrnConfig, one_hot
from pixelmill.workers.networks.vgg import Vgg
from pixelmill.workers.recipes import (
    PICTURES,
    Batch,
    Facts,
    RecipeSettings,
    Role,
    Sample,
    Scores,
    config_from,
)
from pixelmill.workers.recipes.layout_baselines import BLUR_PX, blurred, mean_colours, painted
from pixelmill.workers.recipes.layout_labels import class_ids, classes_of, read_layout
from pixelmill.workers.recipes.layout_samples import augment, channels_first, resized, stacked
from pixelmill.workers.recipes.optimizers import optimizer_of
from pixelmill.workers.recipes.sample_pixels import sample_pixels, turned_pixels
from pixelmill.workers.recipes.schedules import rate_at
from pixelmill.workers.recipes.scoring import joined, means, rows_of
from pixelmill.workers.recipes.squares import chunks, in_rows, scaled
from pixelmill.workers.typed_torch import from_numpy, numbers

MEASURED_PHOTOGRAPHS = 64
HINDSIGHT_MEAN_SHARE = 0.001
"""Share of the mean over outputs in the loss, as in the authors' code: it trains outputs that are never the best, too."""


class CrnSettings(RecipeSettings):
    """`vgg` are the weights of the loss network. Pictures have start_px x 2^(number of widths - 1) pixels.

    The defaults are the paper's for 256 x 512. `palette` has the classes by id, {name: [red, green, blue]}; None: the classes of
    the CMP facades. `layer_weights` are for the pixels and the five layers; None: measured on the training set.
    `vgg_pooling` is that of the loss network. `smallest_crop` is the smallest side of a training crop as a share of the
    picture's side; 1: no crops.
    """

    vgg: str
    epochs: PositiveFloat = 200
    batch: PositiveInt = 1
    learning_rate: PositiveFloat = 1e-4
    loss: Literal["perceptual", "l2"] = "perceptual"
    palette: Palette | None = None
    layer_weights: tuple[PositiveFloat, ...] | None = Field(default=None, min_length=6, max_length=6)
    start_px: tuple[int, int] = (4, 8)
    widths: tuple[int, ...] = (1024, 1024, 1024, 1024, 1024, 512, 512)
    outputs: PositiveInt = 1
    vgg_pooling: Literal["max", "average"] = "max"
    flip: bool = True
    smallest_crop: float = Field(default=1.0, gt=0, le=1)

    def network(self, classes: int) -> CrnConfig:
        return config_from(CrnConfig, self, classes=classes)


class CrnRecipe:
    """From layouts to photographs; trained on files with the photograph on the left and its coloured layout on the right."""

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
        self._palette = settings.palette or self.usual_palette()
        self._vgg: Vgg | None = None

    def usual_palette(self) -> Palette | None:
        """The classes if the settings name none; None if the data names them."""
        return FACADES

    @property
    def palette(self) -> Palette:
        """The classes, by id. ModelError if the data names them and `prepare` has not run yet."""
        if self._palette is None:
            raise ModelError("which classes there are is not known yet: call prepare(samples) first, or set palette")
        return self._palette

    @property
    def config(self) -> CrnConfig:
        """Height and width of the network's output."""
        return self.settings.network(len(self.palette))

    @property
    def size_px(self) -> tuple[int, int]:
        return self.settings.network(1).size_px

    def classes(self) -> Classes:
        return Classes(tuple(self.palette), tuple(self.palette.values()))

    def network(self) -> CascadedRefinement:
        return CascadedRefinement(self.config).to(memory_format=torch.channels_last)

    def decode(self, files: Mapping[str, bytes]) -> Sample:
        """{"photo": uint8 HWC, "layout": uint8 HW of class ids}, both in the network's size."""
        pixels_CHW = sample_pixels(files["image"])
        if pixels_CHW.shape[2] % 2:
            raise DataError(
                f"it is {pixels_CHW.shape[2]} pixels wide, an odd number; give photo and layout of one size side by side"
            )
        photo_CHW, drawn_CHW = pixels_CHW.chunk(2, dim=2)
        ids_HW = class_ids(drawn_CHW.permute(1, 2, 0).numpy(), self.palette, "its right half")
        return resized({"photo": photo_CHW.permute(1, 2, 0).numpy(), "layout": ids_HW}, self.size_px)

    def check(self, samples: Sequence[Sample], together: int) -> None:
        """Check before a training that the loss network can be loaded."""
        self.see(samples)
        self.network()
        with torch.device("cpu"):
            if is_published(self.settings.vgg):
                find_published(self.settings.vgg)
            else:
                self.vgg()

    def see(self, samples: Iterable[Sample]) -> None:
        """Take the classes from the data if it names them."""
        if self._palette is None and (first := next(iter(samples), None)) is not None:
            self._palette = palette_in(first)

    def prepare(self, samples: Iterable[Sample]) -> Facts:
        """The classes and the weights of layers, measured on the first training samples; stored with a checkpoint."""
        remaining = iter(samples)
        first = [] if self._palette is not None else list(islice(remaining, 1))
        self.see(first)
        if self.layer_weights is None:
            photos = [sample["photo"] for sample in islice(chain(first, remaining), MEASURED_PHOTOGRAPHS)]
            self.layer_weights = measured_weights(self.vgg(), photos)
        return json.loads(json.dumps({"layer_weights": self.layer_weights, "palette": self.palette}))

    def restore(self, prepared: Facts) -> None:
        """Restore the weights and classes of the run that `prepared` comes from."""
        self.layer_weights = tuple(cast("Sequence[float]", prepared["layer_weights"]))
        if "palette" in prepared:
            self._palette = as_palette(prepared["palette"])

    def batch(self, samples: Sequence[Sample], random: np.random.Generator) -> Batch:
        """{"photos": uint8 BCHW, "layouts": uint8 BHW}, mirrored and cropped together."""
        flip, smallest_crop = self.settings.flip, self.settings.smallest_crop
        return stacked([augment(sample, random, flip=flip, smallest_crop=smallest_crop) for sample in samples])

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        return optimizer_of(self.settings, network)

    def rate(self, step: int, steps: int) -> float:
        return rate_at(self.settings, step, steps)

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """{"loss"}: the hindsight loss over outputs and classes, with the distance that the settings name."""
        photos_BCHW, layouts_BKHW = scaled(batch["photos"]), one_hot(batch["layouts"], len(self.palette))
        made_BOCHW = network(layouts_BKHW)
        maps = self._distance_maps(made_BOCHW, photos_BCHW, self.settings.loss)
        return {"loss": hindsight(maps, layouts_BKHW, HINDSIGHT_MEAN_SHARE).mean()}

    def scores(self, network: nn.Module, samples: Iterable[Sample]) -> Scores:
        """Both distances of each clamped picture to its photograph, and the mean gradient magnitudes of both: N each."""
        device = next(network.parameters()).device
        return self._scored(lambda batch: network(one_hot(batch["layouts"], len(self.palette))), samples, device)

    def _scored(self, make: Callable[[Batch], Tensor], samples: Iterable[Sample], device: torch.device) -> Scores:
        """The scores of the outputs BOCHW that are made of a batch."""

        def scored(chunk: list[Sample]) -> Scores:
            self.see(chunk)
            batch = {name: tensor.to(device) for name, tensor in stacked(chunk).items()}
            return {name: rows_of(value_B) for name, value_B in self._judge(make(batch), batch).items()}

        return joined(map(scored, chunks(samples, self.settings.batch)))

    def metrics(self, scores: Scores) -> dict[str, float]:
        """Means over samples of clamped pictures: perceptual_loss (1: the distance to another photograph), l2, sharpness.

        Both distances are hindsight losses; `sharpness` is the mean gradient magnitude relative to that of the photographs.
        """
        found = means(scores)
        sharpness = found.pop("edges") / found.pop("edges_photo")
        return found | {"sharpness": sharpness}

    def baselines(self, samples: Iterable[Sample]) -> dict[str, dict[str, float]]:
        """Metrics of every class in its mean colour in these photographs, and of the photographs themselves, blurred."""
        self.see(samples)
        colours_KC = mean_colours(samples, len(self.palette))
        made: dict[str, Callable[[Batch], Tensor]] = {
            "every class in its mean colour": lambda batch: painted(batch["layouts"], colours_KC),
            f"the photograph, blurred by {BLUR_PX:g} px": lambda batch: blurred(scaled(batch["photos"])),
        }
        return {name: self.metrics(self._scored(make, samples, torch.device("cpu"))) for name, make in made.items()}

    def pictures(self, network: nn.Module, samples: Sequence[Sample]) -> Tensor:
        """Rows of layouts, of each output, and of photographs."""
        self.see(samples)
        batch = {name: tensor.to(next(network.parameters()).device) for name, tensor in stacked(samples).items()}
        made_BOCHW = network(one_hot(batch["layouts"], len(self.palette)))
        table = from_numpy(colour_table(list(self.palette.values())))
        coloured_BCHW = table[batch["layouts"].cpu().long()].permute(0, 3, 1, 2) / 255
        return in_rows(coloured_BCHW, *made_BOCHW.unbind(1), scaled(batch["photos"]))

    def _judge(self, outputs_BOCHW: Tensor, batch: Batch) -> dict[str, Tensor]:
        photos_BCHW, layouts_BKHW = scaled(batch["photos"]), one_hot(batch["layouts"], len(self.palette))
        made_BOCHW = outputs_BOCHW.float().clamp(0, 1)
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
            raise ModelError("crn: its layers have no weights yet; call prepare(samples) first, or set layer_weights")
        maps = feature_distances(moved(self.vgg(), photos_BCHW.device), made_BOCHW, photos_BCHW)
        return [weight * map_BOHW for weight, map_BOHW in zip(self.layer_weights, maps, strict=True)]

    def vgg(self) -> Vgg:
        """The loss network, loaded on first use: decoding does not need it."""
        if self._vgg is None:
            with torch.inference_mode(False):
                source = self.assets.get("vgg", self.settings.vgg)
                self._vgg = load_vgg(source, pooling=self.settings.vgg_pooling).to(memory_format=torch.channels_last)
        return self._vgg


class LabelledCrnSettings(CrnSettings):
    """For layouts in label files. `palette` has the classes if classes.json is missing or has no colours.

    Pixels with the id `ignore_index`, which classes.json may state too, have no class and no loss. `turned_labels` states the
    orientation of labels whose pictures EXIF turns: as shown, or as stored.
    """

    ignore_index: int | None = Field(default=None, ge=0, le=65535)
    turned_labels: Literal["shown", "stored"] | None = None


class LabelledCrnRecipe(CrnRecipe):
    """From layouts to photographs; trained on photographs with label files: PNGs of class ids, or coloured ones."""

    NAME: ClassVar[str] = "crn-labels"
    ROLES: ClassVar[tuple[Role, ...]] = (Role("image", "picture"), Role("label", "class map"))
    Settings: ClassVar[type[RecipeSettings]] = LabelledCrnSettings

    def usual_palette(self) -> Palette | None:
        return None

    def decode(self, files: Mapping[str, bytes]) -> Sample:
        """A sample as in CrnRecipe, with the classes and their colours as JSON in "palette"."""
        settings = cast("LabelledCrnSettings", self.settings)
        photo_CHW, orientation = turned_pixels(files["image"])
        classes = classes_of(files.get("classes"), settings.palette, settings.ignore_index)
        ids_HW = read_layout(files, classes, tuple(photo_CHW.shape[1:]), orientation, settings.turned_labels)
        sample = resized({"photo": photo_CHW.permute(1, 2, 0).numpy(), "layout": ids_HW}, self.size_px)
        return sample | {"palette": np.frombuffer(json.dumps(classes.palette).encode(), np.uint8)}


def palette_in(sample: Sample) -> Palette | None:
    """The classes in a sample of labelled data."""
    return as_palette(json.loads(sample["palette"].tobytes())) if "palette" in sample else None


def as_palette(classes: object) -> Palette:
    """A palette from lists, as JSON stores it. ValidationError if it is invalid."""
    return TypeAdapter[Palette](Palette).validate_python(classes)


@torch.no_grad()
def measured_weights(vgg: nn.Module, photos_HWC: Sequence[np.ndarray]) -> tuple[float, ...]:
    """For each layer, 1 / (number of layers x mean distance between consecutive photographs)."""
    if len(photos_HWC) < 2:
        raise DataError("crn weights its layers by how two photographs differ, and there are fewer than two; add some")
    device = next(vgg.parameters()).device
    sums = torch.zeros(1 + len(LAYERS), device=device)
    for pair in pairwise(photos_HWC):
        first_BCHW, second_BCHW = (scaled(channels_first([photo_HWC]).to(device)) for photo_HWC in pair)
        sums += torch.stack([map_BOHW.mean() for map_BOHW in feature_distances(vgg, first_BCHW[None], second_BCHW)])
    means = sums / (len(photos_HWC) - 1)
    return tuple(numbers(1 / (len(means) * means)))
