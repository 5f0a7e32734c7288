"""Monodepth as a model for depth.

Legend: B batch, C = 3 colours, H height, W width.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from pixelmill.workers.models.depth_facts import facts_of_stereo
from pixelmill.workers.models.loaded_checkpoint import Checkpoint
from pixelmill.workers.models.picture_model import PictureModel, SizeFacts
from pixelmill.workers.networks.monodepth import Monodepth


class LeftDisparity(nn.Module):
    """Monodepth's finest disparity of the left view: B1HW in fractions of the width, in [0, 0.3]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.network(images_BCHW)[0][:, :1].float()


def depth(checkpoint: Checkpoint) -> PictureModel:
    """Whole pictures are resized to the size of the training pairs: the network infers depth from positions in the picture."""
    network = cast("Monodepth", checkpoint.module)
    return PictureModel(
        task="depth",
        module=LeftDisparity(network),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        size=SizeFacts(resize_px=network.config.size_px),
        weights_sha256=checkpoint.weights_sha256,
        licence=checkpoint.card.data_licence,
        depth=facts_of_stereo(checkpoint.card.data),
    )
