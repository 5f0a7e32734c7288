"""torchvision's segmentation networks, up to the scores on their coarse grid.

torchvision enlarges the scores to the network's input, and its users enlarge them again to the original picture. Here the scores
are returned on the grid, with 1/64 of the numbers, and enlarged once.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class GridScores(nn.Module):
    """Scores BKHW on a grid with 1/8 or 1/16 of the picture's sides."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.backbone, self.classifier = network.backbone, network.classifier

    def forward(self, images_BCHW: Tensor) -> Tensor:
        features = self.backbone(images_BCHW)
        return self.classifier(features.get("out", features))  # LR-ASPP takes a dict of two
