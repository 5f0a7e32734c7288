"""Parts of our networks that stand as encoders of their own.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class Code(nn.Module):
    """The encoder of an autoencoder, as a network of its own."""

    def __init__(self, autoencoder: nn.Module) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.autoencoder.encode(images_BCHW)  # type: ignore[operator]


class Features(nn.Module):
    """The encoder of an autoencoder without its last layer, the narrow one."""

    def __init__(self, autoencoder: Any) -> None:
        super().__init__()
        self.encoder = autoencoder.encoder[:-1]

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.encoder(images_BCHW - 0.5)
