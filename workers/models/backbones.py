"""Load an encoder by name, with its published preprocessing, cut at its features.

Legend: B batch, C channels, H height, W width, D dimension of an embedding, T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.features import FeaturePooling, hash_weights
from pixelmill.workers.models.libraries import library
from pixelmill.workers.models.model_names import ModelName
from pixelmill.workers.models.preprocess import Pooling, Preprocess
from pixelmill.workers.runtime.execution import PixelNetwork
from pixelmill.workers.runtime.settings import PRECISIONS, Precision


@dataclass(frozen=True)
class Backbone:
    """An encoder ready to run: uint8 crops in, one embedding of dimension `dim` for each picture out."""

    network: PixelNetwork
    preprocess: Preprocess
    dim: int
    weights_sha256: str


def load_backbone(name: ModelName, *, layer: str | None = None, pooling: Pooling = "auto") -> Backbone:
    """Build the encoder and load its weights; published weights are fetched on first use and stay in torch's cache.

    `layer` names a node of the network; None takes the features before the classifier. ModelError if the model, its weights or
    the layer can't be found.
    """
    module, preprocess = library(name.library).encoder(name, layer, pooling)
    module = module.eval().requires_grad_(False)
    weights_sha256 = name.sha256 or hash_weights(module)
    pooled = nn.Sequential(module, FeaturePooling(pooling))
    dim = _output_dim(pooled, preprocess, name, layer)
    side_px = preprocess.crop_px if isinstance(preprocess.crop_px, int) else None
    precisions: tuple[Precision, ...] = getattr(module, "precisions", PRECISIONS)
    licence = library(name.library).licence(name)
    network = PixelNetwork(
        pooled,
        preprocess.mean,
        preprocess.std,
        side_px,
        precisions,
        licence,
        quantized=getattr(module, "quantized", None),
    )
    return Backbone(network, preprocess, dim, weights_sha256)


def _output_dim(network: nn.Module, preprocess: Preprocess, name: ModelName, layer: str | None) -> int:
    blank_BCHW = preprocess.blank()
    try:
        with torch.inference_mode():
            features_BD = network(blank_BCHW)
    except RuntimeError as error:
        fact = str(error).partition("\n")[0]
        shape = "x".join(map(str, blank_BCHW.shape[1:]))
        raise ModelError(
            f"{name.name}: pictures of {shape} do not go through it ({fact}); take another model"
        ) from error
    if features_BD.dim() != 2:
        raise ModelError(f"{name.name}: layer {layer} gives {tuple(features_BD.shape)}, not one vector a picture")
    return features_BD.shape[1]
