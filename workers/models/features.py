"""Cut a network at its features, and pool them into one vector for each picture.

Legend: B batch, C channels, H height, W width, D dimension of an embedding, T tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, fx, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models import vision
from pixelmill.workers.models.model_names import ModelName, no_such_layer
from pixelmill.workers.models.preprocess import Pooling


class FeaturePooling(nn.Module):
    """Pool feature maps BCHW, tokens BTD or vectors BD into one vector BD for each picture.

    auto: average over space for maps, the first token for tokens, vectors unchanged. stats: the mean and the standard deviation
    over space, concatenated.
    """

    def __init__(self, pooling: Pooling) -> None:
        super().__init__()
        self.pooling: Pooling = pooling

    def forward(self, features: Tensor) -> Tensor:
        return _pooled(features, self.pooling)


@fx.wrap  # a single step to fx, which can't trace code that depends on a shape; otherwise no BatchNorm would be folded
def _pooled(features: Tensor, pooling: Pooling) -> Tensor:
    if features.dim() == 2 or pooling == "flatten":
        return features.flatten(1)
    if pooling == "cls" or (pooling == "auto" and features.dim() == 3):
        return features[:, 0].flatten(1)
    positions_BDT = features.flatten(2) if features.dim() == 4 else features.transpose(1, 2)
    if pooling == "max":
        return positions_BDT.amax(2)
    mean_BD = positions_BDT.mean(2)
    if pooling != "stats":
        return mean_BD
    spread_BDT = positions_BDT.float() - mean_BD.float().unsqueeze(2)  # the square of small numbers needs float32
    return torch.cat([mean_BD, spread_BDT.square().mean(2).sqrt().to(mean_BD.dtype)], dim=1)


def hash_weights(module: nn.Module) -> str:
    """SHA-256 over every parameter and buffer with its name, shape and dtype; equal networks have equal hashes."""
    digest = hashlib.sha256()
    for key, tensor in sorted(module.state_dict().items()):
        digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def cut_at(module: nn.Module, layer: str | None, name: ModelName) -> nn.Module:
    """The network up to `layer`, or up to the input of its last linear layer, which every classifier ends with."""
    if layer is not None:
        return up_to(module, layer, name)
    children = cast("Iterable[tuple[str, nn.Module]]", module.named_modules())
    linears = [path for path, child in children if isinstance(child, nn.Linear)]
    if not linears:  # squeezenet classifies by a convolution, averages over space after it, and flattens
        module.classifier = nn.AdaptiveAvgPool2d(1)
        return module
    parent, _, attribute = linears[-1].rpartition(".")
    setattr(module.get_submodule(parent), attribute, nn.Identity())
    return module


def up_to(module: nn.Module, layer: str, name: ModelName) -> nn.Module:
    vision.lighten()
    from torchvision.models.feature_extraction import (  # pyright: ignore[reportMissingTypeStubs]
        create_feature_extractor,
        get_graph_node_names,
    )

    try:
        _, nodes = get_graph_node_names(module)
    except Exception as error:  # fx raises errors of any type for networks that it can't trace
        fact = str(error).partition("\n")[0]
        raise ModelError(
            f"{name.library}:{name.name} can't be cut at a layer ({fact}); leave layer out, or take another network"
        ) from error
    if layer not in nodes and not any(node.startswith(f"{layer}.") for node in nodes):
        raise no_such_layer(f"{name.library}:{name.name}", layer, nodes)
    return _Single(create_feature_extractor(module, return_nodes={layer: "features"}))


class _Single(nn.Module):
    """A feature extractor that returns its one output instead of a dict."""

    def __init__(self, extractor: nn.Module) -> None:
        super().__init__()
        self.extractor = extractor

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.extractor(images_BCHW)["features"]
