"""Train FCN (Long et al. 2015): semantic segmentation with a fully convolutional VGG-16."""

from __future__ import annotations

from typing import ClassVar, Literal, cast

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import nn

from pixelmill.workers.networks.fcn import Fcn, FcnConfig, FcnUpsampling
from pixelmill.workers.recipes import RecipeSettings, config_from
from pixelmill.workers.recipes.schedules import Fraction
from pixelmill.workers.recipes.segmentation.recipe import VggTrunkRecipe
from pixelmill.workers.recipes.segmentation.settings import TrunkSettings


class FcnSettings(TrunkSettings):
    """The paper's network at stride 8, 20 pictures a step, a constant rate of 1e-4."""

    batch: PositiveInt = 20
    learning_rate: PositiveFloat = 1e-4
    skips: tuple[int, ...] = (3, 4)
    fc_width: PositiveInt = 4096
    skip_scales: tuple[PositiveFloat, ...] | None = None
    dropout: Fraction = 0.5
    padding: Literal["same", "caffe"] = "same"
    upsampling: FcnUpsampling = "fixed"


class FcnRecipe(VggTrunkRecipe[FcnSettings]):
    """The class of every pixel, by FCN (Long et al. 2015)."""

    NAME: ClassVar[str] = "fcn"
    NETWORK: ClassVar[str] = "fcn"
    Settings: ClassVar[type[RecipeSettings]] = FcnSettings

    def network(self) -> nn.Module:
        settings = self.settings
        weights = self.vgg_weights(classifier=settings.fc_width == FcnConfig.fc_width)
        convention = self.convention(weights)
        network = Fcn(config_from(FcnConfig, settings, classes=self.class_count, convention=convention))
        self.keep_report(network.load_trunk(weights) if weights else None)
        return network.to(memory_format=torch.channels_last)

    def trunk(self, network: nn.Module) -> tuple[nn.Module, float]:
        return cast("Fcn", network).trunk, self.settings.trunk_rate
