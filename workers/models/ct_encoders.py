"""Networks of CT as encoders: codes of slices, and the normalisation of their training.

Legend: B batch, C channels, H height, W width, S side of the network's input.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from pixelmill.workers.ct.normalization import Normalization
from pixelmill.workers.errors import ModelError
from pixelmill.workers.geometry.reduced import Reduced
from pixelmill.workers.models.preprocess import Preprocess
from pixelmill.workers.networks.ct_unet import pooled_code


@dataclass(frozen=True)
class HuPreprocess(Preprocess):
    """Hounsfield units, or a picture that was windowed, as the network saw them in training, in steps of 1/255."""

    normalization: Normalization = field(default_factory=Normalization)

    @property
    def seen_px(self) -> None:
        return None

    def applied_to(self, pixels_CHW: Tensor, reduced: Reduced | None = None) -> Tensor:
        """uint8 CSS of int16 1HW, or of the first channel of uint8 CHW."""
        image_CSS = self.normalization.whole(pixels_CHW[0].numpy())
        return (image_CSS * 255).round().byte()


class SliceCode(nn.Module):
    """Mean and maximum of the coarsest map of an encoder of CT."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.encoder = network.encoder

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return pooled_code(self.encoder(images_BCHW)[-1])


def ct_encoder(name: str, network: Any, layer: str | None) -> tuple[nn.Module, Preprocess]:
    """The encoder and its input. ModelError for a layer, or for a network of blocks."""
    config = network.config
    if layer not in {None, "code"}:
        raise ModelError(f"model {name}: has the layer code alone; leave the layer out")
    if config.dims != 2:
        raise ModelError(f"model {name}: takes blocks, and stages take slices; take a network with dims 2")
    normalization: Normalization = config.normalization
    channels, size_px = normalization.channels, normalization.size_px
    preprocess = HuPreprocess(
        size_px, size_px, "bilinear", (0.0,) * channels, (1.0,) * channels, normalization=normalization
    )
    return SliceCode(network), preprocess
