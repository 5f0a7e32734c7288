"""Transform networks, each trained for one style, as models for stylize.

Tiles are refused, because every instance norm uses statistics of its whole input: with four tiles and margins of 64 pixels, a
photograph of 512 x 512 has a PSNR of 24.9 dB against the output without tiles (faststyle-starry-night). Larger pictures are
reduced instead.

Legend: B batch, H height, W width.
"""

from __future__ import annotations

from torch import Tensor, nn

from pixelmill.workers.models.loaded_checkpoint import Checkpoint
from pixelmill.workers.models.picture_model import PictureModel, SizeFacts


class Painted(nn.Module):
    """From pictures to stylized pictures B3HW of the same size, both in [0, 1]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images_B3HW: Tensor) -> Tensor:
        return self.network(images_B3HW).clamp(0, 1)


def stylize(checkpoint: Checkpoint) -> PictureModel:
    """The network itself pads pictures to valid sizes."""
    return PictureModel(
        task="stylize",
        module=Painted(checkpoint.module),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        size=SizeFacts(tiling="refused"),
        weights_sha256=checkpoint.weights_sha256,
    )
