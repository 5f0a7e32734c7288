"""VGG-16 and VGG-19 without their classifier: feature maps by name, and loading of published weights.

Simonyan & Zisserman 2015 (arXiv:1409.1556), configurations D and E. Layers have Caffe's names: conv1_2 is the second
convolution of the first block before its ReLU, relu1_2 after it, pool1 the pool at the end of the block.

Every set of weights expects pixels in its own convention. The conversion is applied to the picture and not folded into the first
convolution, because a convolution pads its input with zeros: after the conversion a zero is the mean colour, before it black.
Folding would change the features along the border.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError

ConventionName = Literal["torchvision", "torchvision_features", "caffe"]

BLOCKS: dict[int, tuple[int, ...]] = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
WIDENING = (1, 2, 4, 8, 8)
TRUNK_SHARE = 0.95
"""The smallest share of a trunk that a file has to fill; otherwise it is refused."""

_POOLS = {"max": F.max_pool2d, "average": F.avg_pool2d}


# ------------------------------------------------------------------------------------------------------ preprocessing


@dataclass(frozen=True)
class VggConvention:
    """The pixels that a set of weights was trained on: (scale x pixels - mean) / std, with `mean` and `std` in `order`."""

    order: Literal["rgb", "bgr"]
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


CONVENTIONS: dict[ConventionName, VggConvention] = {
    "torchvision": VggConvention("rgb", 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "torchvision_features": VggConvention("rgb", 255.0, (122.99925, 116.9991, 103.9992), (1.0, 1.0, 1.0)),
    "caffe": VggConvention("bgr", 255.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0)),
}
"""torchvision: weights that torchvision trained. caffe: the authors' weights. torchvision_features: the authors' weights with the
first convolution converted to RGB, torchvision's VGG16_Weights.IMAGENET1K_FEATURES."""


class VggPreprocessing(nn.Module):
    """Converts RGB pictures in [0, 1] to the convention of weights; has no parameters and no state."""

    mean_C11: Tensor
    std_C11: Tensor

    def __init__(self, name: ConventionName) -> None:
        super().__init__()
        if name not in CONVENTIONS:
            raise ModelError(f"vgg: convention is {name}; take one of {', '.join(CONVENTIONS)}")
        self.convention = CONVENTIONS[name]
        self.register_buffer("mean_C11", torch.tensor(self.convention.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std_C11", torch.tensor(self.convention.std).view(3, 1, 1), persistent=False)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        ordered_BCHW = images_BCHW.flip(1) if self.convention.order == "bgr" else images_BCHW
        return (ordered_BCHW * self.convention.scale - self.mean_C11) / self.std_C11


# ---------------------------------------------------------------------------------------------------------- network


def layer_names(depth: int) -> tuple[str, ...]:
    """Every layer before the classifier, from the picture on: conv1_1, relu1_1, ... pool5."""
    names: list[str] = []
    for block, count in enumerate(BLOCKS[depth], 1):
        for number in range(1, count + 1):
            names += [f"conv{block}_{number}", f"relu{block}_{number}"]
        names.append(f"pool{block}")
    return tuple(names)


def convolution_names(depth: int) -> tuple[str, ...]:
    return tuple(name for name in layer_names(depth) if name.startswith("conv"))


@dataclass(frozen=True)
class VggConfig:
    """The shape of a Vgg; ModelError when there can be none like it.

    `width` is the number of channels of the first block, 64 as published. `pooling` average is what Gatys et al. 2016
    found smoother. `ceil_pooling` keeps a last odd row or column, as Caffe does; torchvision drops it.
    """

    depth: Literal[16, 19] = 16
    width: int = 64
    convention: ConventionName = "torchvision"
    pooling: Literal["max", "average"] = "max"
    ceil_pooling: bool = False

    def __post_init__(self) -> None:
        if self.depth not in BLOCKS:
            raise ModelError(f"vgg: depth is {self.depth}; take 16 or 19")
        if self.width < 1:
            raise ModelError(f"vgg: width is {self.width}; take 1 or more, 64 as published")
        if self.convention not in CONVENTIONS:
            raise ModelError(f"vgg: convention is {self.convention}; take one of {', '.join(CONVENTIONS)}")
        if self.pooling not in _POOLS:
            raise ModelError(f"vgg: pooling is {self.pooling}; take one of {', '.join(_POOLS)}")

    @property
    def channels(self) -> dict[str, int]:
        """The output channels of each convolution, in order."""
        blocks = zip(BLOCKS[self.depth], WIDENING, strict=True)
        widths = [self.width * factor for count, factor in blocks for _ in range(count)]
        return dict(zip(convolution_names(self.depth), widths, strict=True))


def convolutions(config: VggConfig) -> nn.ModuleDict:
    """The 3x3 convolutions by name, He-initialised, biases at 0."""
    made = nn.ModuleDict()
    for name, (channels_in, channels_out) in zip(
        config.channels, pairwise([3, *config.channels.values()]), strict=True
    ):
        made[name] = he_initialized(nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1))
    return made


def he_initialized(convolution: nn.Conv2d) -> nn.Conv2d:
    """He et al. 2015: keeps the size of what flows forward through ReLUs."""
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution


class Vgg(nn.Module):
    """RGB pictures in [0, 1] to feature maps by name; 14,714,688 parameters at depth 16, 20,024,384 at 19."""

    def __init__(self, config: VggConfig) -> None:
        super().__init__()
        self.config = config
        self.preprocessing = VggPreprocessing(config.convention)
        self.convolutions = convolutions(config)

    def forward(self, images_BCHW: Tensor, names: Iterable[str], border_px: int = 0) -> dict[str, Tensor]:
        """The requested maps, in the order of `names`; computation stops at the deepest one, and no other map is kept.

        `border_px` pads the preprocessed pictures with so many zeros, the mean colour. ModelError if a layer does not exist.
        """
        wanted = tuple(names)
        known = layer_names(self.config.depth)
        if unknown := sorted(set(wanted) - set(known)):
            raise ModelError(
                f"vgg{self.config.depth}: there is no layer {', '.join(unknown)}; it has {', '.join(known)}"
            )
        deepest = max((known.index(name) for name in wanted), default=-1)
        maps_BCHW, kept = F.pad(self.preprocessing(images_BCHW), [border_px] * 4), dict[str, Tensor]()
        for name in known[: deepest + 1]:
            maps_BCHW = self._layer(name, maps_BCHW)
            if name in wanted:
                kept[name] = maps_BCHW
        return {name: kept[name] for name in wanted}

    def _layer(self, name: str, maps_BCHW: Tensor) -> Tensor:
        if name.startswith("conv"):
            return self.convolutions[name](maps_BCHW)
        if name.startswith("relu"):
            return F.relu(maps_BCHW)  # not in place: the convolution's own map may have been asked for
        return _POOLS[self.config.pooling](maps_BCHW, 2, ceil_mode=self.config.ceil_pooling)


# ---------------------------------------------------------------------------------------------------------- weights


@dataclass(frozen=True)
class VggWeights:
    """Published weights under our names: conv1_1.weight ..., float32; fc6 and fc7 where they were asked for.

    `source` is their name in messages, without the folders of the machine.
    """

    source: str
    depth: Literal[16, 19]
    convention: ConventionName
    tensors: dict[str, Tensor]
    unused: tuple[str, ...]

    @property
    def width(self) -> int:
        """Channels of the first block; 0 where the first convolution is missing."""
        first = self.tensors.get("conv1_1.weight")
        return 0 if first is None else len(first)


@dataclass(frozen=True)
class LoadReport:
    """The result for every tensor that a network expected, and the unused tensors of the file."""

    source: str
    matched: tuple[str, ...]
    missing: tuple[str, ...]
    misshapen: tuple[str, ...]
    unused: tuple[str, ...]

    @property
    def share(self) -> float:
        """Of the expected tensors, the share that was filled, in [0, 1]."""
        expected = len(self.matched) + len(self.missing) + len(self.misshapen)
        return len(self.matched) / expected if expected else 0.0

    def facts(self) -> dict[str, Any]:
        """The report as a card keeps it."""
        missing = [*self.missing, *self.misshapen]
        return {"name": self.source, "loaded": len(self.matched), "missing": missing, "not_used": list(self.unused)}

    def __str__(self) -> str:
        expected = len(self.matched) + len(self.missing) + len(self.misshapen)
        facts = [f"{self.source}: {len(self.matched)} of {expected} tensors matched"]
        for fact, names in (("missing", self.missing), ("of another shape", self.misshapen), ("not used", self.unused)):
            facts += [f"{fact} {', '.join(names[:6])}{' ...' if len(names) > 6 else ''}"] if names else []
        return "; ".join(facts)


def fill(layers: nn.ModuleDict, weights: VggWeights, *, at_least: float = TRUNK_SHARE) -> LoadReport:
    """Copy weights into the convolutions with their names; other parameters are unchanged.

    ModelError, before any tensor changes, if less than `at_least` of all weights and biases would be filled, or if the weights
    belong to a deeper VGG, whose tensors would fit a shallower one but be meaningless there.
    """
    report = fitting(layers, weights, at_least=at_least)
    if broken := [name for name in report.matched if not weights.tensors[name].isfinite().all()]:
        raise ModelError(f"{weights.source}: {', '.join(broken)} hold values that are no numbers; take other weights")
    own = dict(layers.named_parameters())
    with torch.no_grad():
        for name in report.matched:
            own[name].copy_(weights.tensors[name])
    return report


def fitting(layers: nn.ModuleDict, weights: VggWeights, *, at_least: float) -> LoadReport:
    """Which weights would fill which layers, by their shapes alone; ModelError as `fill` has it."""
    own = dict(layers.named_parameters())
    if deeper := sorted(weights.tensors.keys() - own.keys()):
        raise ModelError(f"{weights.source}: is a VGG-{weights.depth} with {', '.join(deeper)}; take weights of VGG-16")
    matched = [name for name in own if name in weights.tensors and weights.tensors[name].shape == own[name].shape]
    misshapen = [_misfit(name, own, weights.tensors) for name in own if name in weights.tensors and name not in matched]
    missing = [name for name in own if name not in weights.tensors]
    report = LoadReport(weights.source, tuple(matched), tuple(missing), tuple(misshapen), weights.unused)
    if report.share < at_least:
        raise ModelError(f"{report}; under {at_least:.0%} is refused: take weights of this VGG, at its published width")
    return report


def _misfit(name: str, own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    return f"{name} {tuple(given[name].shape)} for {tuple(own[name].shape)}"
