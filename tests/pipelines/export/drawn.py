"""A finished run with columns of pictures, made in this process by a stage that stores what it saw and a map of depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from torch import Tensor

from pixelmill.pipelines.inputs.entries import Source
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.codecs.encode import encode_jpeg, encode_png16, encode_png_palette
from pixelmill.workers.errors import RowError
from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import Milled, Stage, StageConfig, StageContext
from pixelmill.workers.stages.picture_column import picture_field, picture_value
from tests.in_process_run import Job, live
from tests.mills import write

SCALE = 0.25
BLUE = (0, 0, 255)
"""The stage can't do pictures of it."""


class DrawnConfig(StageConfig):
    """A stage for tests: `shown` (JPEG), `mask` (ids), `depth_m` (16 bits, with its scale) and a few numbers."""

    stage: ClassVar[str] = "drawn"
    weights: str = "w1"

    def columns(self) -> tuple[str, ...]:
        return ("shown", "mask", "depth_m", "depth_m_scale", "brightness", "levels")

    def row_bytes(self, picture_px: int) -> int:
        return 100

    def build(self, context: StageContext) -> Stage:
        return Drawn(self)


class Drawn:
    settings: ClassVar[dict[str, object]] = {}
    batch, batch_pixels = 4, None

    def __init__(self, config: DrawnConfig) -> None:
        self.weights_sha256 = config.weights
        self.fields = (
            picture_field("shown"),
            picture_field("mask", metadata={"classes": '["dark", "light"]'}),
            picture_field("depth_m"),
            pa.field("depth_m_scale", pa.float32()),
            pa.field("brightness", pa.float32()),
            pa.field("levels", pa.list_(pa.float32(), 100)),
        )

    def prepare(self, picture: Picture) -> Tensor:
        return picture.pixels

    def run(self, samples: Sequence[Tensor]) -> Milled:
        rows = [_row_of(pixels_CHW) for pixels_CHW in samples]
        columns: dict[str, Any] = {
            field.name: pa.array([row[field.name] for row in rows], field.type) for field in self.fields
        }
        is_blue = [bool(pixels_CHW[2].min() > 240 and pixels_CHW[0].max() < 10) for pixels_CHW in samples]
        errors = {index: RowError("drawn", "Blue", "is blue") for index, blue in enumerate(is_blue) if blue}
        return Milled(columns, errors)


def _row_of(pixels_CHW: Tensor) -> dict[str, object]:
    grey_HW = pixels_CHW.float().mean(0).numpy()
    return {
        "shown": picture_value(encode_jpeg(pixels_CHW, 95)),
        "mask": picture_value(encode_png_palette((grey_HW > 128).astype(np.uint8), [(0, 0, 0), (250, 10, 20)])),
        "depth_m": picture_value(encode_png16((grey_HW * 4).astype(np.uint16))),
        "depth_m_scale": SCALE,
        "brightness": float(grey_HW.mean()),
        "levels": [0.5] * 100,
    }


def make_run(folder: Path, photos: Mapping[str, tuple[int, int, int]], source: Path | None = None) -> Folder:
    """The run over pictures of these names and colours, in `folder`/in unless they lie elsewhere."""
    for name, colour in photos.items():
        place = folder / "in" / name
        write(place.parent, place.name, colour)
    out = Folder(str(folder / "out"), Access(retry_for_s=0.0))
    live(Job(Source((str(source or folder / "in"),)), out, (DrawnConfig.model_validate({}),), file_bytes=128))
    if not out.exists("_run/spec.yaml"):
        out.publish("_run/spec.yaml", b"version: 1\n")
    return out
