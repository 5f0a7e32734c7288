"""Our networks as encoders: the module that encodes, and its preprocessing in training.

Legend: B batch, C channels, H height, W width, D code size.
"""

from __future__ import annotations

from typing import Any

from pydantic import JsonValue
from torch import Tensor, fx, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.card import Card
from pixelmill.workers.models.model_names import no_such_layer
from pixelmill.workers.models.normalization import MOST_SIDE_PX, fault_of
from pixelmill.workers.models.preprocess import Fit, Preprocess
from pixelmill.workers.networks.finetuned import ENCODERS, Encoder, Finetuned
from pixelmill.workers.networks.unet import UNetConfig

SIZE_UNKNOWN_PX = 256
"""Input size for a network that was trained on pictures of unrecorded sizes."""


class Code(nn.Module):
    """The encoder of an autoencoder as a separate network: codes BD; for a VAE, the mean of the posterior."""

    def __init__(self, autoencoder: nn.Module) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.autoencoder.encode(images_BCHW)  # type: ignore[operator]


class Features(nn.Module):
    """The encoder of an autoencoder without its last layer, the bottleneck."""

    def __init__(self, autoencoder: Any) -> None:
        super().__init__()
        self.encoder = autoencoder.encoder[:-1]

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.encoder(images_BCHW - 0.5)


class Hidden(nn.Module):
    """The encoder of a VAE up to the vector from which mean and variance are computed."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.encoder = vae.encoder

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.encoder(images_BCHW)


class Deepest(nn.Module):
    """The coarsest feature map of an encoder's pyramid."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.encoder(images_BCHW)[-1]


def layers_of(network: str, module: nn.Module) -> nn.Module:
    """The encoder of a network by its name in a card, with the layers at which it can be cut; KeyError if it has none."""
    if network == "autoencoder":
        return Features(module)
    if network == "vae":
        return Hidden(module)
    return module.encoder if isinstance(module, Finetuned) else ENCODERS[network].encoder(module)


def features_of(network: str, module: nn.Module) -> nn.Module:
    """The encoder of a network up to its last feature map BCHW."""
    layers = layers_of(network, module)
    return Deepest(layers) if isinstance(layers, Encoder) else layers


class _Whole(fx.Tracer):
    """Traces a network with one of its modules as a single step, without tracing into it."""

    def __init__(self, layer: str) -> None:
        super().__init__()
        self._layer = layer

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name == self._layer or super().is_leaf_module(m, module_qualified_name)


def up_to_module(encoder: nn.Module, layer: str, model: str) -> nn.Module:
    """An encoder up to its module of this name; ModelError with the existing names.

    torchvision's feature extractor can't be used: it takes the `_1` of conv1_1 for a counter that it added.
    """
    cut = fx.GraphModule(encoder, _Whole(layer).trace(encoder))
    called = [node for node in cut.graph.nodes if node.op == "call_module"]
    steps = [node for node in called if node.target == layer]
    if not steps:
        raise no_such_layer(model, layer, [str(node.target) for node in called])
    (output,) = (node for node in cut.graph.nodes if node.op == "output")
    output.args = (steps[-1],)
    cut.graph.eliminate_dead_code()
    cut.delete_all_unused_submodules()
    cut.recompile()
    return cut


# -------------------------------------------------------------------------------------------- preprocessing in training


def trained_input(card: Card, module: nn.Module) -> Preprocess:
    """The preprocessing of the network's training, from the statements of its card and from its recipe.

    For networks that were trained on pictures of their own size, such as segmentation, the input has the size of the training
    crops, or SIZE_UNKNOWN_PX if there were none.
    """
    config: Any = _encoder_config(module)
    channels = getattr(config, "channels", 3)
    mean, std = (0.0,) * channels, (1.0,) * channels
    if card.preprocess is not None:
        size_px, interpolation = card.preprocess.size_px, card.preprocess.interpolation
        return _checked(Preprocess(size_px, size_px, interpolation, card.preprocess.mean, card.preprocess.std))
    size_px, fit = _trained_size(card, module)
    if isinstance(config, UNetConfig):  # pads by what valid convolutions cut off at the borders
        height, width = (config.output_above(side_px) + 2 * config.margin_px for side_px in _pair(size_px))
        size_px = (height, width)
    resize_px = min(_pair(size_px))
    return _checked(Preprocess(resize_px, size_px, "bilinear", mean, std, fit))


def _encoder_config(module: Any) -> Any:
    """The config of the network that contains the encoder."""
    if isinstance(module, Finetuned):
        return ENCODERS[module.config.encoder].config(**module.config.encoder_config)
    return module.config


def _trained_size(card: Card, module: Any) -> tuple[int | tuple[int, int], Fit]:
    settings = card.settings
    own = getattr(module.config, "size_px", None)  # of networks that take one size only
    if own is not None:
        of_squares: Fit = "pad" if settings.get("pad") else "centre crop"
        return own, of_squares if isinstance(own, int) else "stretch"
    if (resized := _sides(settings.get("size_px"))) is not None:
        return resized, "centre crop" if isinstance(resized, int) else "stretch"
    if (cropped := _sides(settings.get("crop_px"))) is not None:
        return cropped, "central area"
    return SIZE_UNKNOWN_PX, "centre crop"


def _sides(stated: JsonValue) -> int | tuple[int, int] | None:
    """A side or (height, width) from a recipe's settings; None if they state none."""
    match stated:
        case bool():
            return None
        case int():
            return stated
        case [int(height), int(width)]:
            return height, width
        case _:
            return None


def _pair(size_px: int | tuple[int, int]) -> tuple[int, int]:
    return (size_px, size_px) if isinstance(size_px, int) else size_px


def _checked(preprocess: Preprocess) -> Preprocess:
    if not all(1 <= side_px <= MOST_SIDE_PX for side_px in preprocess.size_px):
        raise ModelError(
            f"its card says that it sees pictures of {preprocess.size_px} px; a side is 1 to {MOST_SIDE_PX}"
        )
    if len(preprocess.mean) not in {1, 3}:
        raise ModelError(f"it takes pictures of {len(preprocess.mean)} channels; a picture has 1 (grey) or 3")
    if (fault := fault_of(preprocess.mean, preprocess.std)) is not None:
        raise ModelError(f"preprocess of its card: {fault}")
    return preprocess
