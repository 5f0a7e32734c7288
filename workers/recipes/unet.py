"""Train U-Net (Ronneberger et al. 2015): semantic segmentation, tile by tile."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, cast

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from pixelmill.workers.networks.unet import UNet, UNetConfig, mirrored, predict_tiled
from pixelmill.workers.networks.upsample import Upsampling
from pixelmill.workers.recipes import RecipeSettings, config_from
from pixelmill.workers.recipes.schedules import Fraction
from pixelmill.workers.recipes.segmentation.recipe import SegmentationRecipe
from pixelmill.workers.recipes.segmentation.settings import SegmentationSettings


class UNetSettings(SegmentationSettings):
    """The paper's network: valid convolutions, one picture a step with momentum 0.99."""

    batch: PositiveInt = 1
    learning_rate: PositiveFloat = 1e-3
    momentum: Fraction = 0.99
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    base: PositiveInt = 64
    levels: PositiveInt = 4
    padding: Literal["valid", "same"] = "valid"
    upsampling: Upsampling = "transposed_k2"
    skips: tuple[int, ...] | None = None
    dropout: Fraction = 0.5
    batch_norm: bool = False
    up_relu: bool = False
    tile_px: PositiveInt = 388


class UNetRecipe(SegmentationRecipe[UNetSettings]):
    """The class of every pixel, by U-Net (Ronneberger et al. 2015)."""

    NAME: ClassVar[str] = "unet"
    NETWORK: ClassVar[str] = "unet"
    ASSETS: ClassVar[tuple[str, ...]] = ()
    Settings: ClassVar[type[RecipeSettings]] = UNetSettings

    def network(self) -> nn.Module:
        return UNet(self._config(self.class_count)).to(memory_format=torch.channels_last)

    def _config(self, classes: int) -> UNetConfig:
        settings = self.settings
        every_level = tuple(range(1, settings.levels + 1))
        skips = every_level if settings.skips is None else settings.skips
        return config_from(UNetConfig, settings, classes=classes, skips=skips)

    def grid(self, size_HW: tuple[int, int]) -> tuple[tuple[int, int], int]:
        config = self._config(classes=2)
        return (config.output_above(size_HW[0]), config.output_above(size_HW[1])), config.margin_px

    def logits(self, network: nn.Module, images_BCHW: Tensor) -> Tensor:
        if self.settings.padding == "same":
            return network(images_BCHW)
        return predict_tiled(cast(UNet, network), images_BCHW, self.settings.tile_px)

    def extended(self, images_BCHW: Tensor) -> Tensor:
        height, width = images_BCHW.shape[2:]
        kept_HW, margin_px = self.grid((height, width))
        return images_BCHW if self.settings.padding == "same" else mirrored(images_BCHW, margin_px, kept_HW)
