"""Cascaded refinement networks as models for synthesize: pictures from layouts of class ids.

Legend: B batch, K classes, O outputs, H height, W width.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from torch import Tensor, nn

from pixelmill.workers.drawn_classes import FACADES, VOID
from pixelmill.workers.models.card import Card
from pixelmill.workers.models.loaded_checkpoint import Checkpoint
from pixelmill.workers.models.picture_model import Classes, PictureModel, SizeFacts
from pixelmill.workers.networks.crn import CascadedRefinement, one_hot


class FromIds(nn.Module):
    """From class ids B1HW as floats to pictures B3HW in [0, 1]: one of those that the network makes, counted from 0."""

    def __init__(self, network: CascadedRefinement, output: int = 0) -> None:
        super().__init__()
        self.network, self.output = network, output

    def forward(self, ids_B1HW: Tensor) -> Tensor:
        layouts_BKHW = one_hot(ids_B1HW[:, 0].round(), self.network.config.classes)
        return self.network(layouts_BKHW.to(ids_B1HW.dtype))[:, self.output].clamp(0, 1)


def at_output(model: PictureModel, output: int) -> PictureModel:
    """The model with another of the network's pictures, counted from 0."""
    network = cast("FromIds", model.module).network
    return replace(model, module=FromIds(network, output))


def synthesize(checkpoint: Checkpoint) -> PictureModel:
    """Layouts are resized to the network's one size, ids by nearest neighbour, as in training."""
    network = cast("CascadedRefinement", checkpoint.module)
    return PictureModel(
        task="synthesize",
        module=FromIds(network),
        mean=(0.0,),
        std=(1 / VOID,),  # keeps ids unchanged
        size=SizeFacts(resize_px=network.config.size_px),
        weights_sha256=checkpoint.weights_sha256,
        classes=_classes_of(checkpoint.card, network.config.classes),
    )


def _classes_of(card: Card, count: int) -> Classes:
    """The classes of the card. Older cards lack them: the recipe crn then has the classes of facades, others have numbers."""
    if card.classes is not None:
        return card.classes
    if card.recipe == "crn" and count == len(FACADES):
        return Classes(tuple(FACADES), tuple(FACADES.values()))
    return Classes(tuple(f"class_{number}" for number in range(count)))
