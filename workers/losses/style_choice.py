"""Settings of style transfer: layers and weights of content and style, and the optimisation. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt

LossScale = Literal["gatys", "johnson", "relative"]
"""The relative weight of layers of many and few channels: see workers/losses/perceptual.py."""


@dataclass(frozen=True)
class StyleWeights:
    """Layers and weights of the content of a photograph and the style of a painting."""

    content_layers: Sequence[str]
    style_layers: Sequence[str]
    content: float
    style: float
    total_variation: float
    scale: LossScale


class StyleChoice(BaseModel):
    """Settings of content and style; each method of style transfer has its own defaults."""

    content_layers: tuple[str, ...]
    style_layers: tuple[str, ...]
    content_weight: NonNegativeFloat
    style_weight: NonNegativeFloat
    tv_weight: NonNegativeFloat
    scale: LossScale

    @property
    def weights(self) -> StyleWeights:
        return StyleWeights(
            content_layers=self.content_layers,
            style_layers=self.style_layers,
            content=self.content_weight,
            style=self.style_weight,
            total_variation=self.tv_weight,
            scale=self.scale,
        )


class GatysSettings(StyleChoice):
    """Settings of content, style and optimisation; `learning_rate` None is 1 for L-BFGS and 0.02 for Adam. `pooling` is that
    of the loss network."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    start: Literal["noise", "content"] = "noise"
    optimizer: Literal["lbfgs", "adam"] = "lbfgs"
    steps: PositiveInt = 500
    learning_rate: PositiveFloat | None = None
    content_layers: tuple[str, ...] = ("relu4_2",)
    style_layers: tuple[str, ...] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
    content_weight: NonNegativeFloat = 1.0
    style_weight: NonNegativeFloat = 10.0
    tv_weight: NonNegativeFloat = 5.0
    scale: LossScale = "relative"
    pooling: Literal["max", "average"] = "max"
    seed: Annotated[int, Field(ge=0)] = 0
