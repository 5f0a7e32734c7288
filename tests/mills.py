"""A mill in this process over a folder of small pictures, with a stage that misbehaves as it is told to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import torch
from torch import Tensor

from pixelmill.pipelines.bulk.mill import Mill
from pixelmill.pipelines.bulk.mill_config import MillConfig
from pixelmill.pipelines.bulk.orders import Order
from pixelmill.pipelines.bulk.tally import Tally
from pixelmill.pipelines.inputs.fetch import FetchLimits
from pixelmill.pipelines.inputs.sources import Source
from pixelmill.pipelines.outputs.known import Known
from pixelmill.pipelines.outputs.listing import Listing, tables_of
from pixelmill.pipelines.outputs.parts import Part
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import RowError
from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import Milled, Stage, StageConfig, StageContext
from tests.corpus import encode, photo

ACCESS = Access(retry_for_s=0.0)
CONTEXT = StageContext("cpu", 1, 100, None)
RED, GREEN, BLUE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)


class ColourConfig(StageConfig):
    """A stage for tests: the mean colour; refuses green by its row, and breaks on a batch with blue in it."""

    stage: ClassVar[str] = "colour"
    column: str = "colour"
    refuses: tuple[int, int, int] | None = None
    breaks_on: tuple[int, int, int] | None = None
    cannot_prepare: tuple[int, int, int] | None = None
    most: int = 1000
    """Pictures in a batch that memory is there for."""
    faults_on: tuple[int, int, int] | None = None
    batch: int = 4
    weights: str = "w1"

    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def build(self, context: StageContext) -> Stage:
        return Colour(self)


class Colour:
    settings: ClassVar[dict[str, object]] = {"chosen": "for tests"}
    batch_pixels: int | None = None

    def __init__(self, config: ColourConfig) -> None:
        self.config = config
        self.name, self.batch, self.weights_sha256 = config.stage, config.batch, config.weights
        self.fields = (pa.field(config.column, pa.list_(pa.float32(), 3)),)
        self.batches: list[int] = []

    def prepare(self, picture: Picture) -> Tensor:
        mean_C = picture.pixels.float().mean(dim=(1, 2))
        if self.is_near(mean_C, self.config.cannot_prepare):
            raise ArithmeticError("can't be prepared")
        return mean_C

    def run(self, samples: Sequence[Tensor]) -> Milled:
        self.batches.append(len(samples))
        if len(samples) > self.config.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        if any(self.is_near(sample, self.config.faults_on) for sample in samples):
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        if any(self.is_near(sample, self.config.breaks_on) for sample in samples):
            raise RuntimeError("broke on https://user:hunter2@host")
        errors = {
            place: RowError(self.name, "Refused", "is of a refused colour")
            for place, sample in enumerate(samples)
            if self.is_near(sample, self.config.refuses)
        }
        values = pa.array(torch.cat(list(samples)).numpy(), pa.float32())
        return Milled({self.fields[0].name: pa.FixedSizeListArray.from_arrays(values, 3)}, errors)

    @staticmethod
    def is_near(mean_C: Tensor, colour: tuple[int, int, int] | None) -> bool:
        return colour is not None and bool((mean_C - torch.tensor(colour)).abs().max() < 9)


def write(folder: Path, name: str, colour: tuple[int, int, int] | None, size: tuple[int, int] = (8, 6)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    picture = photo(width=size[0], height=size[1])
    if colour is not None:
        picture.paste(colour, (0, 0, *size))
    (folder / name).write_bytes(encode(picture, "PNG"))


def mill_of(photos: Path, *stages: StageConfig, decode_threads: int = 0, **changes: Any) -> tuple[Mill, list[Tally]]:
    out = Folder(str(photos.parent / "out"), ACCESS)
    listing = Listing(out, 0)
    listing.write(tables_of(Source((str(photos),)), listing, Known(out, [])))
    segment: Segment = listing.commit([listing.rows - 3, 3], 0)
    config = MillConfig(
        out=out.uri,
        out_access=ACCESS,
        source_access=ACCESS,
        column=None,
        segments=(segment,),
        stages=stages,
        context=CONTEXT,
        fetch=FetchLimits(in_flight=2),
        max_pixels=changes.get("max_pixels", 1000),
        decode_threads=decode_threads,
        weights=changes.get("weights"),
        decoder=changes.get("decoder", "picture"),
        decodes_whole=changes.get("decodes_whole", False),
        memory_bytes=changes.get("memory_bytes", 8 << 30),
        decode_on=changes.get("decode_on"),
        stall_s=changes.get("stall_s", 600.0),
    )
    reports: list[Tally] = []
    report = lambda tally: reports.append(Tally.from_json(tally.to_json()))  # noqa: E731
    return Mill(config, report, changes.get("announce", lambda text: None)), reports


def rows_by_name(table: pa.Table) -> dict[str, dict[str, Any]]:
    return {Path(row["uri"]).name: row for row in table.to_pylist()}


def order(
    name: str = "part-000000",
    parts: tuple[Part, ...] = (Part(0, 0, 0, 7), Part(1, 0, 7, 3)),
) -> dict[str, Any]:
    return json.loads(Order(name, parts).to_json())
