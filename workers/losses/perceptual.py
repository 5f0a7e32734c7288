"""Perceptual losses between pictures, from the features of a trained network: content, style (Gram matrices), smoothness.

Gatys, Ecker & Bethge 2016 and Johnson, Alahi & Fei-Fei 2016. The loss network is any module that maps images in [0, 1]
to feature maps by name and does the preprocessing of its own weights, as `pixelmill.workers.networks.vgg.Vgg` does. It is frozen;
gradients go through it to the images. Every loss has one value a picture, so that several can be optimised at once.

Three scales, which weight layers of few and many channels differently (N channels, M positions):

    gatys      content 1/2 sum (F - P)^2     style sum (G - A)^2 / (4 N^2 M^2), the paper's equations 1 and 4
    johnson    content mean (F - P)^2        style mean (G / NM - A / NM)^2, as in the reference code: 1 / (N^4 M^2)
    relative   content sum (F - P)^2 / sum P^2, style sum (G - A)^2 / sum A^2: relative to the target, in every layer

From 64 channels to 512 the first two differ by a factor of 64: johnson almost ignores deep layers (with the authors' VGG-16,
relu4_3 has a ten-thousandth of the weight of relu2_2), relative weights all layers equally. The first two also grow with the
features, content with their second power and style with their fourth. Therefore features of weights for standardised pixels are
multiplied by `FEATURE_SIZE`, so that loss weights that were found for pixels from 0 to 255 fit both.

Legend: B batch, C channels, H height, W width of a picture or a feature map.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from pixelmill.workers.losses.style_choice import LossScale, StyleWeights
from pixelmill.workers.networks.vgg import ConventionName, Vgg

Features = Mapping[str, Tensor]
"""Feature maps BCHW by the name of their layer."""

Network = TypeVar("Network", bound=nn.Module)

FEATURE_SIZE: dict[ConventionName, float] = {"torchvision": 141.0, "torchvision_features": 1.0, "caffe": 1.0}
"""Features of the authors' weights over those of others. Not measured: Johnson's 1 (content) and 5 (style) do with the
authors' weights what 1e5 and 1e10 do with torchvision's in PyTorch's own example, and (1e10 / 1e5 / 5) ** 0.5 is 141."""

_SMALLEST_ENERGY = 1e-12


def frozen(network: Network) -> Network:
    """The same network in eval mode; its parameters get no gradient, its inputs still do."""
    return network.eval().requires_grad_(False)


def moved(network: Network, device: torch.device) -> Network:
    """The same network on a device. Moved in inference mode, it could not be trained through afterwards."""
    with torch.inference_mode(False):
        return network.to(device)


def gram(features_BCHW: Tensor) -> Tensor:
    """Products of channels averaged over positions, float32 BCC: they keep correlations of features and discard positions.

    The mean, not the sum, so that a painting and a photograph of another size can be compared: G / M of the papers.
    """
    with torch.autocast(features_BCHW.device.type, enabled=False):
        rows_BCM = features_BCHW.flatten(2).float()
        return rows_BCM @ rows_BCM.mT / rows_BCM.shape[2]


def content_loss(features: Features, targets: Features, scale: LossScale = "johnson") -> Tensor:
    """Squared distance of feature maps from those in `targets`, summed over its layers: float32 B."""
    return _sum(_content_distance(features[name], target, scale) for name, target in targets.items())


def style_loss(features: Features, grams: Mapping[str, Tensor], scale: LossScale = "johnson") -> Tensor:
    """Squared distance of Gram matrices from those in `grams` (1CC or BCC), summed over its layers: float32 B."""
    return _sum(_gram_distance(gram(features[name]), target, scale) for name, target in grams.items())


def total_variation(images_BCHW: Tensor) -> Tensor:
    """Squared differences of neighbours, down and across, averaged over pixels and channels: float32 B.

    Johnson's 1e-6 weighs half the sum at 256 px on the scale 0 to 255; that is 6,400 for this mean on [0, 1].
    """
    images_BCHW = images_BCHW.float()
    down_B = images_BCHW.diff(dim=2).square().flatten(1).sum(1)
    across_B = images_BCHW.diff(dim=3).square().flatten(1).sum(1)
    return (down_B + across_B) / images_BCHW[0].numel()


def _content_distance(features_BCHW: Tensor, target_BCHW: Tensor, scale: LossScale) -> Tensor:
    target_BCHW = target_BCHW.float()
    squares_B = (features_BCHW.float() - target_BCHW).square().flatten(1).sum(1)
    if scale == "gatys":
        return squares_B / 2
    if scale == "johnson":
        return squares_B / target_BCHW[0].numel()
    return squares_B / _energy(target_BCHW)


def _gram_distance(gram_BCC: Tensor, target_BCC: Tensor, scale: LossScale) -> Tensor:
    channels = gram_BCC.shape[1]
    squares_B = (gram_BCC - target_BCC).square().flatten(1).sum(1)
    if scale == "gatys":
        return squares_B / (4 * channels**2)
    if scale == "johnson":
        return squares_B / channels**4
    return squares_B / _energy(target_BCC)


def _energy(target: Tensor) -> Tensor:
    return target.square().flatten(1).sum(1).clamp_min(_SMALLEST_ENERGY)


def _sum(distances_B: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(distances_B)).sum(0)


class StyleTransferLoss(nn.Module):
    """Content of photographs + style of one painting + total variation, each with its weight.

    Only the painting's Gram matrices are stored, as buffers; the loss network moves to a device with them. Targets have no
    graph. All tensors are ordinary ones even if the loss is built in inference mode.
    """

    def __init__(self, network: Vgg, style_1CHW: Tensor, weights: StyleWeights) -> None:
        super().__init__()
        self.network = frozen(network)
        self.weights = weights
        self.feature_size = FEATURE_SIZE[network.config.convention]
        with torch.inference_mode(False), torch.no_grad():
            features = self._features(style_1CHW.clone(), weights.style_layers)
            for name in weights.style_layers:
                self.register_buffer(f"gram_{name}", gram(features[name]))

    @property
    def grams(self) -> dict[str, Tensor]:
        return {name: self.get_buffer(f"gram_{name}") for name in self.weights.style_layers}

    def content_targets(self, images_BCHW: Tensor) -> dict[str, Tensor]:
        """The target feature maps of the content loss, without a graph."""
        with torch.no_grad():
            return self._features(images_BCHW, self.weights.content_layers)

    def forward(self, images_BCHW: Tensor, content_targets: Features) -> dict[str, Tensor]:
        """Weighted terms of images in [0, 1], float32 B each: content, style, total_variation and total, their sum."""
        names = list(dict.fromkeys([*self.weights.content_layers, *self.weights.style_layers]))
        features = self._features(images_BCHW, names)
        terms = {
            "content": self.weights.content * content_loss(features, content_targets, self.weights.scale),
            "style": self.weights.style * style_loss(features, self.grams, self.weights.scale),
            "total_variation": self.weights.total_variation * total_variation(images_BCHW),
        }
        return terms | {"total": _sum(terms.values())}

    def _features(self, images_BCHW: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        features = self.network(images_BCHW, names)
        if self.feature_size == 1:
            return features
        return {name: self.feature_size * maps_BCHW for name, maps_BCHW in features.items()}
