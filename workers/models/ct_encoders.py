"""Networks of CT as encoders: codes of slices, and the normalisation of their training.

Legend: B batch, C channels, H height, W width, S side of the network's input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pixelmill.workers.ct.normalization import AIR_HU, Normalization, Values, shown_part
from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.checkpoint import load_checkpoint
from pixelmill.workers.models.preprocess import Preprocess
from pixelmill.workers.networks.ct_unet import pooled_code
from pixelmill.workers.pictures import Reduced


@dataclass(frozen=True)
class HuPreprocess(Preprocess):
    """Hounsfield units, or a picture that was windowed, as the network saw them in training, in steps of 1/255."""

    normalization: Normalization = field(default_factory=Normalization)

    @property
    def seen_px(self) -> None:
        return None

    def applied_to(self, pixels_CHW: Tensor, reduced: Reduced | None = None) -> Tensor:
        """uint8 CSS of int16 1HW, or of the first channel of uint8 CHW."""
        image_CSS = self.normalization.whole(pixels_CHW[0].numpy())
        return (image_CSS * 255).round().byte()

    @property
    def shown_channels(self) -> int:
        return 1  # each channel is the slice through another window

    def shown_part(self, native: tuple[int, int]) -> tuple[slice, slice]:
        return shown_part(*native, self.normalization.size_px)


@dataclass(frozen=True)
class HuBlockPreprocess(HuPreprocess):
    """Blocks of Hounsfield units: the slices of each channel behind each other, as channels of a flat picture. Slices of air make
    them a multiple of `stride`, half of them on either side."""

    stride: int = 1

    def applied_to(self, pixels_D1HW: Tensor, reduced: Reduced | None = None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """uint8 NSS of int16 D1HW, with N = channels x slices."""
        fitted_DSS = self.normalization.fitted(pixels_D1HW[:, 0].numpy())
        missing = -len(fitted_DSS) % self.stride
        beyond = ((missing // 2, missing - missing // 2), (0, 0), (0, 0))
        padded_DSS = np.pad(fitted_DSS, beyond, constant_values=AIR_HU)
        image_CDSS = self.normalization.applied(padded_DSS, self.normalization.spread_of(fitted_DSS))
        return (image_CDSS * 255).round().byte().flatten(0, 1)

    def blank(self) -> Tensor:
        return torch.zeros(1, self.normalization.channels * self.stride, *self.size_px)


class BlockCode(nn.Module):
    """`SliceCode` of blocks BNHW, with N = channels x slices."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.code = SliceCode(network)
        self._channels = network.config.normalization.channels

    def forward(self, images_BNHW: Tensor) -> Tensor:
        return self.code(images_BNHW.unflatten(1, (self._channels, -1)))


class SliceCode(nn.Module):
    """Mean and maximum of the coarsest map of an encoder of CT."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.encoder = network.encoder

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return pooled_code(self.encoder(images_BCHW)[-1])


def ct_encoder(name: str, network: Any, layer: str | None) -> tuple[nn.Module, Preprocess]:
    """The encoder and its input. ModelError for a layer."""
    if layer not in {None, "code"}:
        raise ModelError(f"model {name}: has the layer code alone; leave the layer out")
    if network.config.dims == 3:
        return BlockCode(network), _block_preprocess(network.config)
    return SliceCode(network), hu_preprocess(name, network.config)


def _block_preprocess(config: Any) -> HuBlockPreprocess:
    """One mean for all channels, as their number follows from the blocks; no fixed side, so that few blocks are taken at once."""
    side_px, seen = config.size_px, config.normalization
    size_px = (side_px, side_px)
    return HuBlockPreprocess(
        side_px, size_px, "bilinear", (0.0,), (1.0,), "pad", normalization=seen, stride=config.stride
    )


def hu_preprocess(name: str, config: Any) -> HuPreprocess:
    """The input of a network of CT, by the normalisation in its card. ModelError for a network of blocks."""
    if config.dims != 2:
        raise ModelError(
            f"model {name}: was trained on blocks, of which `embed` alone makes something; take one with dims 2"
        )
    normalization: Normalization = config.normalization
    channels, size_px = normalization.channels, normalization.size_px
    mean, std = (0.0,) * channels, (1.0,) * channels
    return HuPreprocess(size_px, size_px, "bilinear", mean, std, "pad", normalization=normalization)


CALLED: Mapping[Values, str] = {"hu": "Hounsfield units", "windowed": "windowed pictures"}


def require_values(stage: str, model: str, path: Path, given: Values) -> None:
    """ModelError where a network was trained on values of the other kind alone, and its card leaves open how these would have
    to be windowed to look like them."""
    module, _ = load_checkpoint(path)
    config: Any = module.config
    trained: tuple[Values, ...] | None = getattr(config, "values", None)
    if not trained or given in trained or config.normalization.joins_values:
        return
    raise ModelError(
        f"stage {stage}: the source gives {CALLED[given]}, and {model} was trained on {CALLED[trained[0]]} alone, with windows "
        f"{', '.join(config.windows)}, so that both would not look alike; train it with the one window that people see these "
        "slices through, such as --set windows=[brain], or with --set normalise=percentile"
    )
