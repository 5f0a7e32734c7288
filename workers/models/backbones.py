"""Load an encoder by name with its own published preprocessing, cut where its features are.

Legend: B batch, C channels, H height, W width, D dimension of an embedding, T tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast

import torch
from torch import Tensor, fx, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.geometry.resize import Interpolation
from pixelmill.workers.models import vision
from pixelmill.workers.models.model_names import ModelName
from pixelmill.workers.runtime.execution import PixelNetwork

Pooling = Literal["auto", "avg", "max", "stats", "cls", "flatten"]


@dataclass(frozen=True)
class Preprocess:
    """Shorter side to `resize_px`, centre crop of `crop_px`, then (x / 255 - mean) / std."""

    resize_px: int
    crop_px: int
    interpolation: Interpolation
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Backbone:
    """An encoder ready to run: uint8 crops in, one embedding of `dim` numbers a picture out."""

    network: PixelNetwork
    preprocess: Preprocess
    dim: int
    weights_sha256: str


def load_backbone(name: ModelName, *, layer: str | None = None, pooling: Pooling = "auto") -> Backbone:
    """Build the encoder and load its weights; published weights are fetched on first use and kept by torch's cache.

    `layer` names a node of the network (the features before the classifier when None). ModelError when the model,
    its weights or the layer can't be found.
    """
    module, preprocess = _LOADERS[name.library](name, layer, pooling)
    module = module.eval().requires_grad_(False)
    weights_sha256 = name.sha256 or hash_weights(module)
    pooled = nn.Sequential(module, FeaturePooling(pooling))
    dim = _output_dim(pooled, preprocess, name, layer)
    network = PixelNetwork(pooled, preprocess.mean, preprocess.std, preprocess.crop_px)
    return Backbone(network, preprocess, dim, weights_sha256)


class FeaturePooling(nn.Module):
    """Feature maps BCHW, tokens BTD or vectors BD to one vector BD a picture.

    auto: average over space for maps, the first token for tokens, vectors as they are. stats: the mean and the standard
    deviation over space, one after the other.
    """

    def __init__(self, pooling: Pooling) -> None:
        super().__init__()
        self.pooling: Pooling = pooling

    def forward(self, features: Tensor) -> Tensor:
        return _pooled(features, self.pooling)


@fx.wrap  # one step to fx, which can't trace what depends on a shape, and would leave every BatchNorm unfolded
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
    """SHA-256 over every parameter and buffer with its name, shape and dtype: equal networks, equal hash."""
    digest = hashlib.sha256()
    for key, tensor in sorted(module.state_dict().items()):
        digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _torchvision(name: ModelName, layer: str | None, _: Pooling) -> tuple[nn.Module, Preprocess]:
    vision.lighten()
    from torchvision import models as untyped  # pyright: ignore[reportMissingTypeStubs]

    models: Any = untyped

    if name.weights == "random":
        with torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]
            torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
            module = models.get_model(name.name, weights=None, **extra_arguments(name.name))
        published: Any = models.get_model_weights(name.name)
        preset = published.DEFAULT.transforms()
    else:
        weights: Any = models.get_model_weights(name.name)[str(name.weights)]
        # torchvision has no switch for it, and torch.hub would run what a pickle in the cached file says.
        kind = cast("Any", type(weights))
        weights.get_state_dict = partial(kind.get_state_dict, weights, weights_only=True)
        try:
            module = models.get_model(name.name, weights=weights, progress=False)
        except OSError as error:
            raise ModelError(
                f"torchvision:{name.name}/{name.weights}: its weights could not be fetched from {weights.url} ({error}); "
                "put the file into $TORCH_HOME/hub/checkpoints, or use a model that ships: autoencoder-photos"
            ) from error
        except Exception as error:  # a file that is cut, of another network, or no file of weights: one kind each
            first_line = str(error).partition("\n")[0]
            raise ModelError(
                f"torchvision:{name.name}/{name.weights}: {weights.url.rpartition('/')[2]} in $TORCH_HOME/hub/checkpoints "
                f"does not hold its weights ({type(error).__name__}: {first_line}); remove it, so that it is fetched again"
            ) from error
        preset = weights.transforms()
    return _cut(module, layer, name), _preset(preset)


def extra_arguments(name: str) -> dict[str, Any]:
    return {"init_weights": True} if name in {"googlenet", "inception_v3"} else {}


def _preset(preset: Any) -> Preprocess:
    return Preprocess(
        resize_px=preset.resize_size[0],
        crop_px=preset.crop_size[0],
        interpolation="bicubic" if preset.interpolation.value == "bicubic" else "bilinear",
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )


def _timm(name: ModelName, layer: str | None, _: Pooling) -> tuple[nn.Module, Preprocess]:
    vision.lighten()  # which timm imports too
    import timm
    from timm.data.config import resolve_model_data_config  # pyright: ignore[reportUnknownVariableType]

    try:
        with torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]
            torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
            module = timm.create_model(name.name, pretrained=name.weights != "random", num_classes=0)
    except Exception as error:  # timm and the hub raise a dozen kinds
        raise ModelError(f"timm:{name.name}: {error}; `timm.list_models('*')` lists what there is") from error
    data: Any = cast("Any", resolve_model_data_config)(module)
    crop_px = int(data["input_size"][1])
    preprocess = Preprocess(
        resize_px=round(crop_px / float(data["crop_pct"])),
        crop_px=crop_px,
        interpolation="bicubic" if data["interpolation"] == "bicubic" else "bilinear",
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
    )
    return (_cut(module, layer, name) if layer else module), preprocess


def _cut(module: nn.Module, layer: str | None, name: ModelName) -> nn.Module:
    """The network up to `layer`, or up to the input of its last linear layer, which every classifier ends with."""
    if layer is not None:
        return _up_to(module, layer, name)
    children = cast("Iterable[tuple[str, nn.Module]]", module.named_modules())
    linears = [path for path, child in children if isinstance(child, nn.Linear)]
    if not linears:  # squeezenet classifies by a convolution, averages over space after it, and flattens
        module.classifier = nn.AdaptiveAvgPool2d(1)
        return module
    parent, _, attribute = linears[-1].rpartition(".")
    setattr(module.get_submodule(parent), attribute, nn.Identity())
    return module


def _up_to(module: nn.Module, layer: str, name: ModelName) -> nn.Module:
    vision.lighten()
    from torchvision.models.feature_extraction import (  # pyright: ignore[reportMissingTypeStubs]
        create_feature_extractor,
        get_graph_node_names,
    )

    _, nodes = get_graph_node_names(module)
    if layer not in nodes and not any(node.startswith(f"{layer}.") for node in nodes):
        raise ModelError(f"{name.library}:{name.name} has no layer {layer}; it has {', '.join(nodes)}")
    return _Single(create_feature_extractor(module, return_nodes={layer: "features"}))


class _Single(nn.Module):
    """A feature extractor with one output, as that output instead of a dict."""

    def __init__(self, extractor: nn.Module) -> None:
        super().__init__()
        self.extractor = extractor

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.extractor(images_BCHW)["features"]


def _file(name: ModelName, layer: str | None, pooling: Pooling) -> tuple[nn.Module, Preprocess]:
    """An autoencoder of ours: its code (`layer: code`), or its last feature map before the code.

    Two uses pull apart (workers/zoo/README.md has the figures of autoencoder-photos): crops of a photograph find another
    crop of it by the mean and standard deviation of the feature map in 95 % and by the code in 71 %; a whole photograph
    finds one of its own category in 23 % and 40 %. `pooling: auto` takes the statistics, which find the same picture again.
    """
    from pixelmill.workers.models.checkpoint import load_checkpoint

    assert name.path is not None
    module, card = load_checkpoint(name.path)
    if card.network != "autoencoder" or card.preprocess is None or len(card.preprocess.mean) != 3:
        raise ModelError(f"{name.path}: holds a {card.network}, and embedding takes an autoencoder of colour pictures")
    size_px = card.preprocess.size_px
    preprocess = Preprocess(size_px, size_px, "bilinear", tuple(card.preprocess.mean), tuple(card.preprocess.std))
    if layer == "code":
        return _Code(module), preprocess
    if layer is not None:
        return _up_to(module, layer, name), preprocess
    features = _Features(module)
    return (nn.Sequential(features, FeaturePooling("stats")) if pooling == "auto" else features), preprocess


class _Code(nn.Module):
    """The encoder of an autoencoder, as a network of its own."""

    def __init__(self, autoencoder: nn.Module) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.autoencoder.encode(images_BCHW)  # type: ignore[operator]


class _Features(nn.Module):
    """The encoder of an autoencoder without its last layer, the narrow one."""

    def __init__(self, autoencoder: Any) -> None:
        super().__init__()
        self.encoder = autoencoder.encoder[:-1]

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.encoder(images_BCHW - 0.5)


def _output_dim(network: nn.Module, preprocess: Preprocess, name: ModelName, layer: str | None) -> int:
    blank_BCHW = torch.zeros(1, 3, preprocess.crop_px, preprocess.crop_px)
    with torch.inference_mode():
        features_BD = network(blank_BCHW)
    if features_BD.dim() != 2:
        raise ModelError(f"{name.name}: layer {layer} gives {tuple(features_BD.shape)}, not one vector a picture")
    return features_BD.shape[1]


_LOADERS = {"torchvision": _torchvision, "timm": _timm, "file": _file}
