"""Transform networks, which know one style, as models that stylize.

Tiles were measured (faststyle-starry-night, a photograph of 512 x 512 in four tiles with 64 pixels around each): 24.9 dB to
the whole, since every instance norm takes its statistics from all that it is given. So there are none: a larger picture is
seen smaller.

Legend: B batch, H height, W width.
"""

from __future__ import annotations

from torch import Tensor, nn

from pixelmill.workers.models.loaded_checkpoint import Checkpoint
from pixelmill.workers.models.picture_model import PictureModel, SizeFacts


class Painted(nn.Module):
    """Pictures in [0, 1] to stylized ones B3HW in [0, 1], of the same size."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images_B3HW: Tensor) -> Tensor:
        return self.network(images_B3HW).clamp(0, 1)


def stylize(checkpoint: Checkpoint) -> PictureModel:
    """The network pads a picture by itself to what it takes."""
    return PictureModel(
        task="stylize",
        module=Painted(checkpoint.module),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        size=SizeFacts(tiling="refused"),
        weights_sha256=checkpoint.weights_sha256,
    )
