"""A convolutional autoencoder of U-Net shape for CT, in two or three dimensions, and its encoder under heads.

Ronneberger et al. 2015 with group normalisation. With `masked` it is pretrained in the way of SparK (Tian et al. 2023): learned
tokens stand for masked pixels, features are masked again after each convolution, normalisations count visible places alone, so
that their statistics are those of whole inputs, and the skip of full resolution is dropped.

Legend: B batch, C channels, K classes, H height, W width, S spatial axes: HW, or DHW of blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from pixelmill.workers.ct.normalization import Method, Normalization, Values
from pixelmill.workers.errors import ModelError

Pyramid = list[Tensor]
Head = Literal["segment", "classify"]
GROUPS = 8


@dataclass(frozen=True)
class CtEncoderConfig:
    """What the encoder's weights mean: their shapes, and the normalisation of their input (workers/ct/normalization.py)."""

    dims: Literal[2, 3] = 2
    widths: tuple[int, ...] = (24, 48, 96, 192, 256)
    windows: tuple[str, ...] = ("wide",)
    normalise: Method = "window"
    body_crop: bool = False
    size_px: int = 256

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))  # JSON has lists
        object.__setattr__(self, "windows", tuple(self.windows))
        if self.dims not in {2, 3} or len(self.widths) < 2 or min(self.widths) < 1:
            raise ModelError(
                f"ct-unet: dims is {self.dims} and widths {self.widths}; take 2 or 3, and two widths or more"
            )
        _ = self.normalization  # raises for options that make no normalisation
        if self.size_px % self.stride:
            raise ModelError(f"ct-unet: size_px {self.size_px} is no multiple of {self.stride}; choose one that is")

    @property
    def stride(self) -> int:
        """The side of a cell of the coarsest map, in pixels."""
        return 2 ** (len(self.widths) - 1)

    @property
    def normalization(self) -> Normalization:
        return Normalization(self.windows, self.normalise, self.body_crop, self.size_px)


@dataclass(frozen=True)
class CtAutoencoderConfig(CtEncoderConfig):
    """`masked` adds learned tokens for masked pixels, and drops the skip of full resolution."""

    masked: bool = False


@dataclass(frozen=True)
class CtFinetunedConfig(CtEncoderConfig):
    """`hold_passes`: in so many first forward passes of a training the encoder gets no gradient, while the new head settles.
    `values`: the kinds of values that the training saw; None where that is not known.
    """

    head: Head = "segment"
    classes: int = 2
    frozen: bool = False
    hold_passes: int = 0
    values: tuple[Values, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.values is not None:
            object.__setattr__(self, "values", tuple(self.values))  # JSON has lists
        if self.classes < 2 or self.dims != 2:
            raise ModelError(f"ct-finetuned: classes is {self.classes} and dims {self.dims}; take 2 or more, in 2-D")


class CtEncoder(nn.Module):
    """Floats BCS to feature maps from fine to coarse, each half as large as the one before."""

    def __init__(self, config: CtEncoderConfig) -> None:
        super().__init__()
        self.dims = config.dims
        entering = (config.normalization.channels, *config.widths)
        pairs = zip(entering, config.widths, strict=False)
        self.levels = nn.ModuleList([block(before, width, config.dims) for before, width in pairs])

    def forward(self, images_BCS: Tensor, visible_B1S: Tensor | None = None) -> Pyramid:
        """`visible_B1S`, 1 where the input is seen, masks the features after each convolution, and normalisations count visible
        places alone, as SparK's sparse ones do: features of what is seen have the same scale as those of a whole picture."""
        maps_BCS, pyramid = images_BCS, list[Tensor]()
        for level, convolve in enumerate(self.levels):
            maps_BCS = _pooled(maps_BCS, self.dims) if level else maps_BCS
            if visible_B1S is None:
                maps_BCS = convolve(maps_BCS)
            else:
                maps_BCS = _of_visible(cast("nn.Sequential", convolve), maps_BCS, _smaller(visible_B1S, maps_BCS))
            pyramid.append(maps_BCS)
        return pyramid


class CtDecoder(nn.Module):
    """Feature maps to `channels_out` maps of full resolution: enlarge, join the skip, convolve."""

    def __init__(self, config: CtEncoderConfig, channels_out: int, *, full_skip: bool) -> None:
        super().__init__()
        self.full_skip = full_skip
        widths, levels = config.widths, range(len(config.widths) - 1)
        self.levels = nn.ModuleList(
            [block(widths[at + 1] + (widths[at] if at or full_skip else 0), widths[at], config.dims) for at in levels]
        )
        self.output = _convolution(config.dims)(widths[0], channels_out, 1)

    def forward(self, pyramid: Pyramid) -> Tensor:
        maps_BCS = pyramid[-1]
        for level in reversed(range(len(self.levels))):
            maps_BCS = F.interpolate(maps_BCS, size=pyramid[level].shape[2:], mode="nearest")
            if level or self.full_skip:
                maps_BCS = torch.cat([maps_BCS, pyramid[level]], 1)
            maps_BCS = self.levels[level](maps_BCS)
        return self.output(maps_BCS)


class CtAutoencoder(nn.Module):
    """Floats BCS in [0, 1] to their reconstruction, which is not clamped; sides are multiples of `config.stride`."""

    def __init__(self, config: CtAutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.normalization.channels
        self.encoder = CtEncoder(config)
        self.decoder = CtDecoder(config, channels, full_skip=not config.masked)
        ones = (1,) * config.dims
        sizes = (channels, *config.widths[1:]) if config.masked else ()
        self.tokens = nn.ParameterList([nn.Parameter(0.02 * torch.randn(1, size, *ones)) for size in sizes])

    def forward(self, images_BCS: Tensor, visible_B1S: Tensor | None = None) -> Tensor:
        """With `visible_B1S` the values of masked pixels, where it is 0, have no influence on the result."""
        if visible_B1S is None:
            return self.decoder(self.encoder(images_BCS))
        if not self.config.masked:
            raise ModelError("ct-autoencoder: has no tokens for masked pixels; train it with pretext masked")
        seen_BCS = torch.where(visible_B1S > 0, images_BCS, self.tokens[0])
        pyramid = self.encoder(seen_BCS, visible_B1S)
        for level, token_1C in enumerate(self.tokens[1:], 1):
            hidden_B1S = 1 - _smaller(visible_B1S, pyramid[level])
            pyramid[level] = pyramid[level] + hidden_B1S * token_1C
        return self.decoder(pyramid)

    def reconstructed(self, images_BCS: Tensor) -> Tensor:
        """Whole pictures. A masked network was trained on hidden pixels alone, and its output for visible ones is meaningless. So
        two thirds of the patches are hidden in each of three passes, about the share of its training, and each pixel is the mean
        of the two passes in which it was hidden."""
        if not self.config.masked:
            return self(images_BCS)
        thirds_S = _in_thirds(images_BCS, self.config.stride)
        hidden = [(thirds_S != third).to(images_BCS.dtype) for third in range(3)]
        passes = [self(images_BCS, (1 - each).expand(len(images_BCS), 1, *each.shape)) * each for each in hidden]
        return torch.stack(passes).sum(0) / 2

    def encode(self, images_BCS: Tensor) -> Tensor:
        """Codes: mean and maximum of the coarsest map."""
        return pooled_code(self.encoder(images_BCS)[-1])


class CtFinetuned(nn.Module):
    """The encoder of a CtAutoencoder under a head: logits BKHW of every pixel, or BK of the slice."""

    ENCODER_FROM: ClassVar[frozenset[str]] = frozenset({"ct-autoencoder"})
    """Networks whose tensors below `encoder.` it can begin with."""

    passes: Tensor

    def __init__(self, config: CtFinetunedConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = CtEncoder(config)
        if config.head == "segment":
            self.head: nn.Module = CtDecoder(config, config.classes, full_skip=True)
        else:
            self.head = nn.Linear(2 * config.widths[-1], config.classes)
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))
        if config.frozen:
            self.encoder.requires_grad_(False)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        pyramid = self.encoder(images_BCHW)
        if self.training and self.config.hold_passes:
            pyramid = self._held(pyramid)
        return self.head(pyramid if self.config.head == "segment" else pooled_code(pyramid[-1]))

    def _held(self, pyramid: Pyramid) -> Pyramid:
        """The same maps, without a gradient for the encoder in the first passes. The count is a buffer, so that a resumed
        training knows it, and stays on the device."""
        self.passes += 1
        free = (self.passes > self.config.hold_passes).float()
        return [maps_BCHW.detach() + free * (maps_BCHW - maps_BCHW.detach()) for maps_BCHW in pyramid]


def block(channels_in: int, channels_out: int, dims: int) -> nn.Sequential:
    """Twice: 3-wide convolution, group normalisation, ReLU."""
    steps: list[nn.Module] = []
    for channels in (channels_in, channels_out):
        steps.append(_convolution(dims)(channels, channels_out, 3, padding=1, bias=False))
        steps += [nn.GroupNorm(math.gcd(GROUPS, channels_out), channels_out), nn.ReLU()]
    return nn.Sequential(*steps)


def _of_visible(steps: nn.Sequential, maps_BCS: Tensor, visible_B1S: Tensor) -> Tensor:
    """The block's features of visible places; all others are 0, except between a normalisation and its ReLU."""
    counts_B1 = visible_B1S.flatten(2).sum(2)
    for step in steps:
        if isinstance(step, nn.GroupNorm):
            maps_BCS = _normalised(step, maps_BCS, counts_B1)
        else:
            maps_BCS = step(maps_BCS) * visible_B1S
    return maps_BCS


def _normalised(norm: nn.GroupNorm, maps_BCS: Tensor, counts_B1: Tensor) -> Tensor:
    """Group normalisation of maps that are 0 where they are masked, by the mean and variance of their visible places alone.

    One product and one sum for each channel: centred maps would be several more passes over them in every step.
    """
    batch, channels = maps_BCS.shape[:2]
    flat_BCN = maps_BCS.float().flatten(2)
    counts_BG = (counts_B1 * (channels // norm.num_groups)).clamp(min=1)
    norms_BC = cast("Tensor", torch.linalg.vector_norm(flat_BCN, dim=2))  # pyright: ignore[reportUnknownMemberType]
    means_BG = flat_BCN.sum(2).reshape(batch, norm.num_groups, -1).sum(2) / counts_BG
    squares_BG = norms_BC.square().reshape(batch, norm.num_groups, -1).sum(2) / counts_BG
    scales_BG = torch.rsqrt((squares_BG - means_BG.square()).clamp(min=0) + norm.eps)
    of_group = torch.arange(channels, device=maps_BCS.device) // (channels // norm.num_groups)
    scales_BC = scales_BG[:, of_group] * norm.weight
    shifts_BC = norm.bias - means_BG[:, of_group] * scales_BC
    ones = (1,) * (maps_BCS.ndim - 2)
    scaled_BCS = torch.addcmul(shifts_BC.reshape(batch, -1, *ones), maps_BCS, scales_BC.reshape(batch, -1, *ones))
    return scaled_BCS.to(maps_BCS.dtype)


def pooled_code(maps_BCS: Tensor) -> Tensor:
    """Mean and maximum over space, B x 2C."""
    flat_BCN = maps_BCS.flatten(2)
    return torch.cat([flat_BCN.mean(2), flat_BCN.amax(2)], 1)


def _convolution(dims: int) -> Any:
    return nn.Conv3d if dims == 3 else nn.Conv2d


def _pooled(maps_BCS: Tensor, dims: int) -> Tensor:
    return F.max_pool3d(maps_BCS, 2) if dims == 3 else F.max_pool2d(maps_BCS, 2)


def _in_thirds(images_BCS: Tensor, stride: int) -> Tensor:
    """0, 1 or 2 for each pixel of a picture: patches of 16 pixels and more, in diagonals."""
    patch_px = stride * -(-_LEAST_PATCH_PX // stride)
    cells = [torch.arange(side, device=images_BCS.device) // patch_px for side in images_BCS.shape[2:]]
    return sum(torch.meshgrid(*cells, indexing="ij"), start=torch.zeros((), dtype=torch.int64)) % 3


_LEAST_PATCH_PX = 16


def _smaller(visible_B1S: Tensor, maps_BCS: Tensor) -> Tensor:
    """The mask in the size of a map; a cell is visible where all of its pixels are."""
    factor = visible_B1S.shape[-1] // maps_BCS.shape[-1]
    if factor == 1:
        return visible_B1S
    pool = F.max_pool3d if visible_B1S.ndim == 5 else F.max_pool2d
    return -pool(-visible_B1S, factor)
