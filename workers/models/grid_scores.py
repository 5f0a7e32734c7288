"""torchvision's segmentation networks, up to the scores on the grid that they are computed on.

torchvision enlarges them to the picture that the network saw; whoever runs it then enlarges them once more, to the picture that
was given. Both are done in one place, on 1/64 of the numbers.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class GridScores(nn.Module):
    """Scores BKHW with 1/8 or 1/16 of the picture's sides."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.backbone, self.classifier = network.backbone, network.classifier

    def forward(self, images_BCHW: Tensor) -> Tensor:
        features = self.backbone(images_BCHW)
        return self.classifier(features.get("out", features))  # LR-ASPP takes a dict of two
