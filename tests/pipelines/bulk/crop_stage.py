"""A stage whose column is the crop that it sees, byte for byte, and a decoder that ends or holds up processes of tasks."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
from torch import Tensor

from pixelmill.workers.decoders import Decoded
from pixelmill.workers.decoders.picture import PictureDecoder
from pixelmill.workers.models.preprocess import Preprocess
from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import Milled, Stage, StageConfig, StageContext

DEADLY = "tests.pipelines.bulk.crop_stage:DeadlyDecoder"
KILLS, KILLS_ONCE, HANGS = b"<kills its task>", b"<kills its task once>", b"<never ends>"
"""Behind the end of a picture, where no other decoder looks."""
TEST_PROCESS, FOLDER = "PIXELMILL_TEST_PROCESS", "PIXELMILL_TEST_FOLDER"
"""The process of the test, in which nothing is deadly, and the folder where `KILLS_ONCE` remembers that it did."""


class CropConfig(StageConfig):
    """A stage for tests, of which several in one job see crops of different sizes."""

    stage: ClassVar[str] = "crop"
    sees_crops: ClassVar[bool] = True
    column: str = "crop"
    side_px: int = 224

    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def build(self, context: StageContext) -> Stage:
        return Crop(self)


class Crop:
    settings: ClassVar[dict[str, object]] = {}
    weights_sha256: ClassVar[None] = None
    batch: int = 4
    batch_pixels: int | None = None

    def __init__(self, config: CropConfig) -> None:
        self.fields: tuple[Any, ...] = (pa.field(config.column, pa.binary()),)
        self.preprocess = Preprocess(
            round(config.side_px * 8 / 7), config.side_px, "bilinear", (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)
        )

    @property
    def seen_px(self) -> int | None:
        return self.preprocess.seen_px

    def prepare(self, picture: Picture) -> Tensor:
        return self.preprocess.applied_to(picture.pixels, picture.reduced)

    def run(self, samples: Sequence[Tensor]) -> Milled:
        values = [crop_CHW.numpy().tobytes() for crop_CHW in samples]
        return Milled({self.fields[0].name: pa.array(values, pa.binary())}, {})


class DeadlyDecoder(PictureDecoder):
    """Ends or holds up its process for some pictures, unless it is that of the test."""

    def decode(self, pieces: Sequence[bytes], *, max_pixels: int) -> Sequence[Decoded]:
        _suffer(pieces[0])
        return super().decode(pieces, max_pixels=max_pixels)

    def decode_reduced(self, pieces: Sequence[bytes], least_px: int, *, max_pixels: int) -> Sequence[Decoded]:
        _suffer(pieces[0])
        return super().decode_reduced(pieces, least_px, max_pixels=max_pixels)


def _suffer(data: bytes) -> None:
    if os.environ.get(TEST_PROCESS) == str(os.getpid()):
        return
    once = Path(os.environ.get(FOLDER, "")) / "killed"
    if data.endswith(KILLS_ONCE) and not once.exists():
        once.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if data.endswith(KILLS):
        os.kill(os.getpid(), signal.SIGKILL)
    if data.endswith(HANGS):
        time.sleep(10_000)
