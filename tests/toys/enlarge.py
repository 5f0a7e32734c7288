"""Enlarge: every picture at twice its height and width, as a column of PNGs and for the stages that read it.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from pixelmill.workers.errors import RowError
from pixelmill.workers.pictures import Kind, Picture
from pixelmill.workers.stages import Deferred, Milled, StageConfig, StageContext
from pixelmill.workers.stages.picture_column import EncodedPicture, picture_field, picture_value

if TYPE_CHECKING:
    from torch import Tensor


class EnlargeConfig(StageConfig):
    """Repeat every pixel in both directions."""

    stage: ClassVar[str] = "enlarge"
    makes: ClassVar[Kind | None] = "rgb8"

    column: str = Field("enlarged", description="name of the output column")
    refuse_wider_than: int = Field(1 << 30, description="a wider picture can't be encoded")

    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def row_bytes(self, picture_px: int) -> int:
        return 2 * self.made_px(picture_px)

    def made_px(self, picture_px: int) -> int:
        return 4 * picture_px

    def identity(self) -> dict[str, object]:
        return {self.stage: self.output_options()}

    def describe(self, context: StageContext, *, here: bool) -> list[str]:
        return ["twice as high and wide"]

    def build(self, context: StageContext) -> Enlarge:
        return Enlarge(self)


class Enlarge:
    """Batches are stacked, so that each has to be of one size."""

    weights_sha256 = None
    batch = 4
    batch_pixels = 1 << 20
    settings: ClassVar[dict[str, object]] = {"chosen": "default"}

    def __init__(self, config: EnlargeConfig) -> None:
        self.fields = (picture_field(config.column),)
        self._most_width = config.refuse_wider_than

    def prepare(self, picture: Picture) -> Tensor:
        return picture.pixels

    def bucket_of(self, sample: Tensor) -> Hashable:
        return tuple(sample.shape)

    def run(self, samples: Sequence[Tensor]) -> Milled:
        import torch

        large_BCHW = torch.stack(list(samples)).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        jobs = [partial(self.encoded, large_CHW) for large_CHW in large_BCHW]
        pictures = [Picture(large_CHW) for large_CHW in large_BCHW]
        return Milled({self.fields[0].name: Deferred(jobs, list(large_BCHW))}, {}, pictures)

    def encoded(self, picture_CHW: Tensor) -> EncodedPicture:
        from pixelmill.workers.codecs.encode import encode_png

        width = picture_CHW.shape[-1]
        if width > 2 * self._most_width:
            raise RowError("enlarge", "TooWide", f"{width} pixels are too wide")
        return picture_value(encode_png(picture_CHW.permute(1, 2, 0).contiguous().numpy()))
