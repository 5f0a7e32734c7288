"""A network of spandrel as a module: RGB in [0, 1] in and out.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class Upscaler(nn.Module):
    """Pads to valid sizes if necessary and crops the output; a grey network gets each channel as a separate picture."""

    def __init__(self, described: Any) -> None:
        super().__init__()
        self.network: nn.Module = described.model
        self.described = described
        self.is_grey = described.input_channels == 1

    def forward(self, images_BCHW: Tensor) -> Tensor:
        if not self.is_grey:
            return self.described(images_BCHW)
        channels = images_BCHW.shape[1]
        return self.described(images_BCHW.flatten(0, 1)[:, None]).unflatten(0, (-1, channels)).squeeze(2)
