"""A network for one task on pictures, from any library, with the facts that a stage needs to run it.

Legend: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from torch import nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.depth_facts import DepthFacts
from pixelmill.workers.models.preprocess import Preprocess
from pixelmill.workers.models.tasks import Task, verb
from pixelmill.workers.runtime.execution import PixelNetwork
from pixelmill.workers.runtime.settings import PRECISIONS, Precision

Tiling = Literal["exact", "blended", "refused"]
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class SizeFacts:
    """The sizes that a network takes, the size of its output, and whether a picture may be cut into tiles.

    exact: an output pixel depends on input pixels up to `reach_px` away and on nothing else, so that tiles with such a margin
    give the same output as the whole picture. blended: distant pixels have little influence. refused: attention or pooling over
    the whole picture changes the output of tiles.
    """

    multiple_px: int = 1
    """Height and width have to be multiples of this: a picture is padded, and its output cropped."""
    least_px: int = 1
    resize_px: int | tuple[int, int] | None = None
    """Input size, from which the output is resized back: the shorter side, or height and width; None: the picture's own size."""
    longest_px: int | None = None
    """Where the shorter side is resized: the most pixels of the longer one, for which both become smaller; None: no bound."""
    scale: int = 1
    """Output pixels for each input pixel, along one side."""
    reach_px: int | None = None
    """The largest distance, in input pixels, at which an output pixel depends on the input; None if unbounded."""
    tiling: Tiling = "refused"
    stride_px: int = 1
    """Tiles begin at multiples of this, so that strides and pools group the same pixels as in the whole picture."""

    def __post_init__(self) -> None:
        if self.tiling == "exact" and self.reach_px is None:
            raise ValueError("tiles are exact where an output pixel sees so far and no farther: state reach_px")


@dataclass(frozen=True)
class Classes:
    """The classes of a network by id: names, and colours (red, green, blue, 0 to 255) if the model has them."""

    names: tuple[str, ...]
    colours: tuple[Colour, ...] | None = None

    def __post_init__(self) -> None:
        if self.colours is not None and len(self.colours) != len(self.names):
            raise ValueError(f"there are {len(self.colours)} colours for {len(self.names)} classes; give one for each")
        if any(not 0 <= level <= 255 for colour in self.colours or () for level in colour):
            raise ValueError("a colour is red, green and blue from 0 to 255")


@dataclass(frozen=True)
class PictureModel:
    """A network ready to run: `module((pixels / 255 - mean) / std)` returns the output that `tasks.Task` defines."""

    task: Task
    module: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """One number for each channel of the input; its length is the number of channels."""
    size: SizeFacts
    weights_sha256: str
    licence: str | None = None
    """The licence of the weights, as their author states it; None if unknown."""
    classes: Classes | None = None
    depth: DepthFacts | None = None
    preprocess: Preprocess | None = None
    """Preprocessing to the one input size of a network, such as a classifier; None: `size` describes the input."""
    precisions: tuple[Precision, ...] = PRECISIONS
    """The precisions in which the network computes correctly; no other is tried."""
    quantized: str | None = None
    """How its weights were quantized, and how that agrees with float32; None for a network in full precision."""
    at_scales: Mapping[int, PictureModel] = field(default_factory=dict[int, "PictureModel"])
    """The same model at each of its scales, if there are several; `size.scale` is the scale of this one."""

    @property
    def scales(self) -> tuple[int, ...]:
        """The factors by which the model can enlarge the height and width of a picture."""
        return tuple(sorted(self.at_scales or {self.size.scale}))

    def licensed(self, licence: str | None) -> PictureModel:
        """The same model at each of its scales, with this licence if it states none itself."""
        if self.licence is not None or licence is None:
            return self
        at_scales = {scale: model.licensed(licence) for scale, model in self.at_scales.items()}
        return replace(self, licence=licence, at_scales=at_scales)

    def at_scale(self, scale: int) -> PictureModel:
        """The model at one of `scales`."""
        return self.at_scales[scale] if self.at_scales else self

    @property
    def network(self) -> PixelNetwork:
        """The network in the form that the executor takes."""
        input_px = self.preprocess.crop_px if self.preprocess else None
        side_px = input_px if isinstance(input_px, int) else None
        return PixelNetwork(
            self.module, self.mean, self.std, side_px, self.precisions, self.licence, quantized=self.quantized
        )


def require_task(name: str, network: str, task: Task, offered: set[Task]) -> None:
    """ModelError if a model can't do the task of a stage."""
    if task not in offered:
        can = ", ".join(map(verb, sorted(offered))) or "nothing that a stage does"
        raise ModelError(f"model {name}: holds the network {network}, which can't {verb(task)}; it can {can}")
