"""Settings of the recipes for semantic segmentation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from pixelmill.workers.losses.segmentation import SegmentationLoss
from pixelmill.workers.networks.vgg import ConventionName
from pixelmill.workers.prediction.averaging import Averaging
from pixelmill.workers.recipes import RecipeSettings
from pixelmill.workers.recipes.optimizers import OptimizerName
from pixelmill.workers.recipes.schedules import Fraction
from pixelmill.workers.recipes.segmentation.labels import MOST_CLASSES

SizePx = tuple[PositiveInt, PositiveInt]
"""Height, width."""


class LabelledSettings(RecipeSettings):
    """How labelled pictures are read, augmented and weighted. Sizes are height, width.

    `classes`, `ignore_index` and `class_names` default to those of classes.json. `map_ids` replaces ids when labels are read,
    such as {255: 1}. `turned_labels` states the orientation of labels whose pictures EXIF turns: as shown, or as stored.
    Pictures are resized to `size_px` when they are read; a training step crops `crop_px` at a scale drawn between `scales`.
    `brightness` is the largest relative change of brightness. `loss` is ce, focal, dice, or a sum of them with weights, such as
    {ce: 1, dice: 0.5}; `focal_gamma` is the exponent of focal (see losses/segmentation.py).

    Evaluation averages probabilities over the mirror image with `flip_evaluation`, over sizes with `scales_evaluation`, such as
    [0.75, 1, 1.25], and over windows of `window_px` a side that overlap by the share `overlap`; each costs so much more time.
    """

    classes: Annotated[int, Field(ge=2, le=MOST_CLASSES)] | None = None
    class_names: Annotated[tuple[str, ...], Field(min_length=2, max_length=MOST_CLASSES)] | None = None
    ignore_index: Annotated[int, Field(ge=0, le=65535)] | None = None
    map_ids: dict[Annotated[int, Field(ge=0, le=65535)], Annotated[int, Field(ge=0, le=65535)]] | None = None
    turned_labels: Literal["shown", "stored"] | None = None
    class_weights: Literal["median", "none"] | tuple[Annotated[float, Field(ge=0)], ...] = "none"
    size_px: SizePx | None = None
    crop_px: SizePx | None = None
    flip: bool = True
    scales: tuple[PositiveFloat, PositiveFloat] = (1.0, 1.0)
    brightness: Fraction = 0.0
    loss: SegmentationLoss | Annotated[dict[SegmentationLoss, PositiveFloat], Field(min_length=1)] = "ce"
    focal_gamma: Annotated[float, Field(ge=0, le=10)] = 2.0
    flip_evaluation: bool = False
    scales_evaluation: Annotated[tuple[Annotated[float, Field(ge=0.1, le=8)], ...], Field(min_length=1)] = (1.0,)
    window_px: Annotated[int, Field(ge=16)] | None = None
    overlap: Annotated[float, Field(ge=0, le=0.9)] = 0.5

    @property
    def loss_terms(self) -> dict[SegmentationLoss, float]:
        """The terms of the loss with their weights."""
        return dict(self.loss) if isinstance(self.loss, dict) else {self.loss: 1.0}

    @property
    def averaging(self) -> Averaging:
        """What evaluation averages over."""
        return Averaging(self.flip_evaluation, self.scales_evaluation, self.window_px, self.overlap)


class SegmentationSettings(LabelledSettings):
    """Settings that FCN, SegNet and U-Net share."""

    learning_rate: PositiveFloat = 0.01
    optimizer: OptimizerName = "sgd"
    weight_decay: NonNegativeFloat = 5e-4


class TrunkSettings(SegmentationSettings):
    """`vgg` names the initial VGG-16 weights, `trunk_rate` is the trunk's share of the learning rate.

    `vgg` is a safetensors file or torchvision:VGG16_Weights.IMAGENET1K_V1. `vgg_convention` is for a file whose
    preprocessing does not follow from the names in it.
    """

    vgg: str | None = None
    vgg_convention: ConventionName | None = None
    trunk_rate: Annotated[float, Field(ge=0)] = 1.0
    width: PositiveInt = 64
