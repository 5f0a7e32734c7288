"""Train SegNet (Badrinarayanan et al. 2016): semantic segmentation, unpooling with the pooling indices of the encoder."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, cast

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import nn

from pixelmill.workers.networks.segnet import SegNet, SegNetConfig
from pixelmill.workers.networks.upsample import Upsampling
from pixelmill.workers.recipes import RecipeSettings, config_from
from pixelmill.workers.recipes.segmentation.recipe import VggTrunkRecipe
from pixelmill.workers.recipes.segmentation.settings import TrunkSettings


class SegNetSettings(TrunkSettings):
    """The paper's network, 12 pictures a step at a constant 0.1, classes weighted by median frequency."""

    batch: PositiveInt = 12
    learning_rate: PositiveFloat = 0.1
    class_weights: Literal["median", "none"] | tuple[Annotated[float, Field(ge=0)], ...] = "median"
    variant: Literal["vgg16", "basic"] = "vgg16"
    decoder: Literal["mirror", "single"] = "mirror"
    upsampling: Upsampling = "unpool"


class SegNetRecipe(VggTrunkRecipe[SegNetSettings]):
    """The class of every pixel, by SegNet (Badrinarayanan et al. 2016)."""

    NAME: ClassVar[str] = "segnet"
    NETWORK: ClassVar[str] = "segnet"
    Settings: ClassVar[type[RecipeSettings]] = SegNetSettings

    def network(self) -> nn.Module:
        weights = self.vgg_weights()
        convention = self.convention(weights)
        network = SegNet(config_from(SegNetConfig, self.settings, classes=self.class_count, convention=convention))
        self.keep_report(network.load_trunk(weights) if weights else None)
        return network.to(memory_format=torch.channels_last)

    def trunk(self, network: nn.Module) -> tuple[nn.Module, float]:
        return cast("SegNet", network).encoder, self.settings.trunk_rate
