"""The encoder of another network under a new head, which classifies pictures or pixels.

Legend: B batch, C channels, K classes, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.networks.autoencoder import AutoencoderConfig, ConvAutoencoder
from pixelmill.workers.networks.fcn import Fcn, FcnConfig
from pixelmill.workers.networks.layers import Layer, below, layers_of
from pixelmill.workers.networks.monodepth import Monodepth, MonodepthConfig
from pixelmill.workers.networks.segnet import SegNet, SegNetConfig
from pixelmill.workers.networks.unet import UNet, UNetConfig
from pixelmill.workers.networks.vae import Vae, VaeConfig
from pixelmill.workers.networks.vgg import LoadReport

Pyramid = list[Tensor]
"""Feature maps BCHW from fine to coarse."""


@dataclass(frozen=True)
class FinetunedConfig:
    """`encoder` and `encoder_config` name the network from which the encoder is taken; see `ENCODERS`.

    The classifier is a linear layer over the mean and the maximum of the last feature map. The dense decoder upsamples through
    the encoder's levels with `width` channels, and adds the features of each.
    """

    encoder: str
    encoder_config: dict[str, Any] = field(default_factory=dict)
    head: Literal["classifier", "dense"] = "classifier"
    classes: int = 2
    width: int = 32
    frozen: bool = False

    def __post_init__(self) -> None:
        if self.encoder not in ENCODERS:
            raise ModelError(f"finetuned: {self.encoder} has no encoder to take; there are {', '.join(ENCODERS)}")
        if self.classes < 2 or self.width < 1:
            raise ModelError(f"finetuned: classes is {self.classes} and width {self.width}; take 2 and 1 or more")


class Finetuned(nn.Module):
    """Pictures BCHW in [0, 1] to logits BK (classifier), or BKHW of the pictures' size (dense)."""

    def __init__(self, config: FinetunedConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = ENCODERS[config.encoder].build(config.encoder_config)
        if config.encoder == "unet" and UNetConfig(**config.encoder_config).padding != "same":
            raise ModelError("finetuned: a unet with valid convolutions shrinks its maps; take one with padding same")
        channels = self.encoder.channels
        if config.head == "classifier":
            self.head: nn.Module = nn.Linear(2 * channels[-1], config.classes)
        else:
            self.head = DenseDecoder(channels, config.width, config.classes)
        if config.frozen:
            self.encoder.requires_grad_(False)

    def rate_layers(self) -> list[Layer]:
        return [*below("encoder", layers_of(self.encoder)), *below("head", layers_of(self.head))]

    def train(self, mode: bool = True) -> Finetuned:
        """A frozen encoder stays in eval mode, so that its batch statistics do not change either."""
        super().train(mode)
        if self.config.frozen:
            self.encoder.eval()
        return self

    def forward(self, images_BCHW: Tensor) -> Tensor:
        pyramid = self.encoder(images_BCHW)
        if self.config.head == "dense":
            return F.interpolate(self.head(pyramid), images_BCHW.shape[2:], mode="bilinear", align_corners=False)
        deepest_BCHW = pyramid[-1]
        return self.head(torch.cat([deepest_BCHW.mean((2, 3)), deepest_BCHW.amax((2, 3))], 1))


class DenseDecoder(nn.Module):
    """A pyramid to logits at its finest level: project, upsample, add, convolve, level by level."""

    def __init__(self, channels: list[int], width: int, classes: int) -> None:
        super().__init__()
        self.projections = nn.ModuleList([nn.Conv2d(each, width, kernel_size=1) for each in channels])
        self.convolutions = nn.ModuleList([nn.Conv2d(width, width, 3, padding=1) for _ in channels])
        self.norms = nn.ModuleList(
            [nn.GroupNorm(min(8, width), width) if width % 8 == 0 else nn.Identity() for _ in channels]
        )
        self.score = nn.Conv2d(width, classes, kernel_size=1)

    def rate_layers(self) -> list[Layer]:
        parts = ("projections", "convolutions", "norms")
        levels = reversed(range(len(self.projections)))
        return [*[tuple(f"{part}.{level}" for part in parts) for level in levels], ("score",)]

    def forward(self, pyramid: Pyramid) -> Tensor:
        maps_BCHW: Tensor | None = None
        for level in reversed(range(len(pyramid))):
            projected_BCHW = self.projections[level](pyramid[level])
            if maps_BCHW is not None:
                size = projected_BCHW.shape[2:]
                projected_BCHW = projected_BCHW + F.interpolate(maps_BCHW, size, mode="bilinear", align_corners=False)
            maps_BCHW = F.relu(self.norms[level](self.convolutions[level](projected_BCHW)))
        assert maps_BCHW is not None
        return self.score(maps_BCHW)


# ---------------------------------------------------------------------------------------------------------- encoders


class Encoder(nn.Module):
    """The part of a network up to its coarsest feature map, with the names that its weights have there."""

    channels: list[int]

    def forward(self, images_BCHW: Tensor) -> Pyramid:
        raise NotImplementedError


class AutoencoderEncoder(Encoder):
    """All layers before the one that makes the code."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.encoder = network.encoder[:-1]
        self.channels = [self.encoder[0].out_channels, *(down.convolution.out_channels for down in self.encoder[1:])]

    def forward(self, images_BCHW: Tensor) -> Pyramid:
        return _each(self.encoder, images_BCHW - 0.5)


class VaeEncoder(Encoder):
    """The convolutions before the dense layer; a dense network has none."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        if network.config.architecture != "convolutional":
            raise ModelError("finetuned: a dense vae has no feature maps; train one with architecture convolutional")
        count = next(place for place, layer in enumerate(network.encoder) if isinstance(layer, nn.Flatten))
        self.encoder = network.encoder[:count]
        self.channels = [layer.out_channels for layer in self.encoder if isinstance(layer, nn.Conv2d)]

    def forward(self, images_BCHW: Tensor) -> Pyramid:
        return _each(self.encoder, images_BCHW)[1::2]


class FcnEncoder(Encoder):
    """The VGG trunk with its five pools."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.trunk = network.trunk
        self.channels = [network.config.width * factor for factor in (1, 2, 4, 8, 8)]

    def forward(self, images_BCHW: Tensor) -> Pyramid:
        features = self.trunk(images_BCHW, [f"pool{number}" for number in range(1, 6)])
        return [features[f"pool{number}"] for number in range(1, 6)]


class SegNetEncoder(Encoder):
    """The encoder's levels, each before its pool."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.config, self.preprocessing = network.config, network.preprocessing
        self.encoder, self.norms = network.encoder, network.norms
        self.channels = list(network.config.widths)

    def rate_layers(self) -> list[Layer]:
        return [(f"encoder.{name}", f"norms.{name}") for name in self.encoder]

    def forward(self, images_BCHW: Tensor) -> Pyramid:
        maps_BCHW, pyramid = self.preprocessing(images_BCHW), list[Tensor]()
        for level, count in enumerate(self.config.blocks, 1):
            for number in range(1, count + 1):
                name = f"conv{level}_{number}"
                maps_BCHW = F.relu(self.norms[name](self.encoder[name](maps_BCHW)))
            pyramid.append(maps_BCHW)
            maps_BCHW = F.max_pool2d(maps_BCHW, 2, ceil_mode=True)
        return pyramid


class UNetEncoder(Encoder):
    """The contracting path."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.contracting = network.contracting
        self.channels = list(network.config.widths)

    def forward(self, images_BCHW: Tensor) -> Pyramid:
        maps_BCHW, pyramid = images_BCHW - 0.5, list[Tensor]()
        for level, convolve in enumerate(self.contracting):
            maps_BCHW = convolve(F.max_pool2d(maps_BCHW, 2) if level else maps_BCHW)
            pyramid.append(maps_BCHW)
        return pyramid


class MonodepthEncoder(Encoder):
    """The seven halvings."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.encoder = network.encoder
        self.channels = [down.strided.out_channels for down in network.encoder]

    def forward(self, images_BCHW: Tensor) -> Pyramid:
        return _each(self.encoder, images_BCHW)


@dataclass(frozen=True)
class EncoderSource:
    """The network that an encoder is taken from, and how it is taken."""

    config: Callable[..., Any]
    network: Callable[[Any], nn.Module]
    encoder: Callable[[Any], Encoder]

    def build(self, config: Mapping[str, Any]) -> Encoder:
        """The encoder of a new network with this config; the rest of the network is discarded."""
        return self.encoder(self.network(self.config(**config)))


ENCODERS: dict[str, EncoderSource] = {
    "autoencoder": EncoderSource(AutoencoderConfig, ConvAutoencoder, AutoencoderEncoder),
    "vae": EncoderSource(VaeConfig, Vae, VaeEncoder),
    "fcn": EncoderSource(FcnConfig, Fcn, FcnEncoder),
    "segnet": EncoderSource(SegNetConfig, SegNet, SegNetEncoder),
    "unet": EncoderSource(UNetConfig, UNet, UNetEncoder),
    "monodepth": EncoderSource(MonodepthConfig, Monodepth, MonodepthEncoder),
}
"""How the encoder of each network is taken; VDSR, fast style and cascaded refinement have none."""


def _each(layers: Any, maps_BCHW: Tensor) -> Pyramid:
    pyramid: Pyramid = []
    for layer in layers:
        maps_BCHW = layer(maps_BCHW)
        pyramid.append(maps_BCHW)
    return pyramid


# ------------------------------------------------------------------------------------------------------------ loading


def load_encoder(network: Finetuned, weights: Mapping[str, Tensor], name: str) -> LoadReport:
    """Load the encoder from the tensors of its original network; reports matches and mismatches.

    ModelError if one of the encoder's tensors has no match. The head, which is not in `weights`, is unchanged.
    """
    own = network.encoder.state_dict()
    loaded = {key: weights[key] for key in own if key in weights and weights[key].shape == own[key].shape}
    report = LoadReport(
        name,
        matched=tuple(sorted(loaded)),
        missing=tuple(sorted(key for key in own if key not in weights)),
        misshapen=tuple(sorted(key for key in own if key in weights and key not in loaded)),
        unused=tuple(sorted(weights.keys() - own.keys())),
    )
    share = sum(own[key].numel() for key in loaded) / max(1, sum(tensor.numel() for tensor in own.values()))
    if unmatched := [*report.missing, *report.misshapen]:
        raise ModelError(
            f"{name}: only {share:.0%} of the encoder's numbers are in these weights, and all have to be; "
            f"without a match: {', '.join(unmatched[:6])}{' ...' if len(unmatched) > 6 else ''}; "
            "give a checkpoint of the same network and the same widths"
        )
    network.encoder.load_state_dict({**own, **loaded})
    return report


def trained_part(network: Finetuned) -> Iterator[nn.Parameter]:
    """The parameters that training changes."""
    return (parameter for parameter in network.parameters() if parameter.requires_grad)
