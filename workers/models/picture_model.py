"""A network for one task on pictures, whatever library it comes from, with the facts that a stage needs to run it.

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
from pixelmill.workers.models.tasks import Task
from pixelmill.workers.runtime.execution import PixelNetwork
from pixelmill.workers.runtime.settings import PRECISIONS, Precision

Tiling = Literal["exact", "blended", "refused"]
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class SizeFacts:
    """Which sizes a network takes, how large its output is, and whether a picture may be cut into tiles.

    exact: an output pixel depends on input pixels up to `reach_px` away and on nothing else, so that tiles with so much
    around them give what the whole picture would. blended: what is far away hardly matters. refused: attention or pooling
    over the whole picture makes a tile another picture.
    """

    multiple_px: int = 1
    """Height and width have to be multiples of it: a picture is padded, and its output cropped."""
    least_px: int = 1
    resize_px: int | tuple[int, int] | None = None
    """What a picture is resized to, and its output back: the shorter side, or height and width; None: its own size."""
    scale: int = 1
    """Output pixels for each input pixel, along one side."""
    reach_px: int | None = None
    """How far an output pixel sees, in input pixels; None where that has no bound."""
    tiling: Tiling = "refused"
    stride_px: int = 1
    """Tiles begin at multiples of it, so that strides and pools take together what they do in the whole picture."""

    def __post_init__(self) -> None:
        if self.tiling == "exact" and self.reach_px is None:
            raise ValueError("tiles are exact where an output pixel sees so far and no farther: state reach_px")


@dataclass(frozen=True)
class Classes:
    """The classes of a network by id: names, and colours (red, green, blue, 0 to 255) where the model brings some."""

    names: tuple[str, ...]
    colours: tuple[Colour, ...] | None = None

    def __post_init__(self) -> None:
        if self.colours is not None and len(self.colours) != len(self.names):
            raise ValueError(f"there are {len(self.colours)} colours for {len(self.names)} classes; give one for each")
        if any(not 0 <= level <= 255 for colour in self.colours or () for level in colour):
            raise ValueError("a colour is red, green and blue from 0 to 255")


@dataclass(frozen=True)
class PictureModel:
    """A network ready to run: `module((pixels / 255 - mean) / std)` gives what `tasks.Task` says."""

    task: Task
    module: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """One number for each channel of its input, so that it says how many there are."""
    size: SizeFacts
    weights_sha256: str
    licence: str | None = None
    """Of the weights, as their author states it; None where it is not known."""
    classes: Classes | None = None
    depth: DepthFacts | None = None
    preprocess: Preprocess | None = None
    """How a picture becomes what the network sees, where that is one size, as of a classifier; None: `size` says it."""
    precisions: tuple[Precision, ...] = PRECISIONS
    """Those that it computes right in; no other is tried."""
    at_scales: Mapping[int, PictureModel] = field(default_factory=dict[int, "PictureModel"])
    """The same at each scale that it offers, where that is more than one; `size.scale` is that of this one."""

    @property
    def scales(self) -> tuple[int, ...]:
        """How many times as high and wide as its input it can make a picture."""
        return tuple(sorted(self.at_scales or {self.size.scale}))

    def licensed(self, licence: str | None) -> PictureModel:
        """The same at each of its scales, with the licence where it states none itself."""
        if self.licence is not None or licence is None:
            return self
        at_scales = {scale: model.licensed(licence) for scale, model in self.at_scales.items()}
        return replace(self, licence=licence, at_scales=at_scales)

    def at_scale(self, scale: int) -> PictureModel:
        """One of `scales`."""
        return self.at_scales[scale] if self.at_scales else self

    @property
    def network(self) -> PixelNetwork:
        """As the executor takes it."""
        input_px = self.preprocess.crop_px if self.preprocess else None
        side_px = input_px if isinstance(input_px, int) else None
        return PixelNetwork(self.module, self.mean, self.std, side_px, self.precisions, self.licence)


def require_task(name: str, network: str, task: Task, offered: set[Task]) -> None:
    """ModelError where a model does not do what a stage asks of it."""
    if task not in offered:
        can = ", ".join(sorted(offered)) or "nothing that a stage does"
        raise ModelError(f"model {name}: holds a {network}, which can't {task}; it can {can}")
