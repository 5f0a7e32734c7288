"""Networks of transformers as modules with the output of a task (`tasks.Task`): one tensor with the picture's height and width.

Legend: B batch, C channels, H height, W width, K classes, Q queries, T tokens, D dimension of an embedding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

LEAST_SCORE = 1e-6
"""Lower bound of the score of a class, so that its logarithm is finite in float16 too."""


class Cropped(nn.Module):
    """A network behind a centre crop of its input."""

    def __init__(self, network: nn.Module, size_HW: tuple[int, int]) -> None:
        super().__init__()
        self.network, self.size_HW = network, size_HW

    def forward(self, images_BCHW: Tensor) -> Tensor:
        top, left = ((side - kept) // 2 for side, kept in zip(images_BCHW.shape[-2:], self.size_HW, strict=True))
        return self.network(images_BCHW[..., top : top + self.size_HW[0], left : left + self.size_HW[1]])


class Flipped(nn.Module):
    """A network that takes blue, green and red."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.network(images_BCHW.flip(1))


class Embedding(nn.Module):
    """The network's own embedding of a picture BD, or, unless `whole`, its tokens BTD or feature map BCHW."""

    def __init__(self, network: nn.Module, *, whole: bool) -> None:
        super().__init__()
        self.network, self.whole = network, whole

    def forward(self, images_BCHW: Tensor) -> Tensor:
        outputs: Any = self.network(pixel_values=images_BCHW)
        if not self.whole:
            return outputs.last_hidden_state
        if getattr(outputs, "image_embeds", None) is not None:
            return outputs.image_embeds
        if getattr(outputs, "pooler_output", None) is not None:
            return outputs.pooler_output.flatten(1)
        return outputs.last_hidden_state[:, 0]


class Logits(nn.Module):
    """Logits of the classes BK."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.network(pixel_values=images_BCHW).logits


class LogitMap(nn.Module):
    """Logits of the classes BKHW of a network that computes them on a coarser grid."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return _as_large(self.network(pixel_values=images_BCHW).logits, images_BCHW)


class QueryMap(nn.Module):
    """Logits of the classes BKHW of a network that predicts masks, each with class probabilities (Cheng et al. 2021, eq. 2).

    The score of a class is the sum over the queries of its probability times the mask; the logits are the logarithms, whose
    softmax is the share of each class in all scores. The class "no object" is left out.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images_BCHW: Tensor) -> Tensor:
        outputs: Any = self.network(pixel_values=images_BCHW)
        classes_BQK = outputs.class_queries_logits.float().softmax(-1)[..., :-1]
        masks_BQHW = _as_large(outputs.masks_queries_logits.float(), images_BCHW).sigmoid()
        scores_BKHW = torch.einsum("bqk,bqhw->bkhw", classes_BQK, masks_BQHW)
        return scores_BKHW.clamp_min(LEAST_SCORE).log().to(images_BCHW.dtype)


class DepthMap(nn.Module):
    """Depth or inverse depth B1HW."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images_BCHW: Tensor) -> Tensor:
        depth_BHW = self.network(pixel_values=images_BCHW).predicted_depth
        return _as_large(depth_BHW[:, None], images_BCHW)


def _as_large(maps_BCHW: Tensor, images_BCHW: Tensor) -> Tensor:
    size_HW = images_BCHW.shape[-2:]
    if maps_BCHW.shape[-2:] == size_HW:
        return maps_BCHW
    return functional.interpolate(maps_BCHW, size_HW, mode="bilinear", align_corners=False)
