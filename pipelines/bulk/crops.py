"""Blocks of crops: inputs that are fetched, decoded and cropped for the stages of a worker in a process without its networks.

The code is that of the worker: its fetcher, its decoder and its preparation, with the same limits, so that crops and errors are
those that the worker would have made. A block travels as one buffer of bytes, an Arrow IPC stream; no object is pickled.

Legend: C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa

from pixelmill.pipelines.bulk.items import Item
from pixelmill.pipelines.bulk.preparation import Preparation
from pixelmill.pipelines.bulk.stage_runner import StageRunner
from pixelmill.pipelines.inputs.fetch import Fetched, Fetcher, FetchLimits
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.heads import Heads
from pixelmill.workers.decoders import ReadsHeads, decoder_of
from pixelmill.workers.errors import RowError
from pixelmill.workers.pictures import Picture
from pixelmill.workers.runtime.budget import Budget
from pixelmill.workers.runtime.holdings import Holdings
from pixelmill.workers.stages import SeesCrops

if TYPE_CHECKING:
    from torch import Tensor

    from pixelmill.pipelines.bulk.mill_config import MillConfig
    from pixelmill.workers.models.preprocess import Preprocess

LEAST_REQUESTS = 4
"""Requests at once of a decoding task, however many tasks share those of a worker."""
_FACTS = (
    pa.field("position", pa.int32()),
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
    pa.field("decode_s", pa.float32()),
    pa.field("fetched_bytes", pa.int64()),
    pa.field("error_stage", pa.string()),
    pa.field("error_type", pa.string()),
    pa.field("error", pa.string()),
)


@dataclass(frozen=True)
class Cropping:
    """What a stage with this name and index makes of a picture before its network sees it."""

    index: int
    name: str
    preprocess: Preprocess

    @property
    def crop_bytes(self) -> int:
        """The bytes of one crop."""
        return self.preprocess.blank().numel()

    def prepare(self, picture: Picture) -> Tensor:
        """As `SeesOneSize.prepare`."""
        return self.preprocess.applied_to(picture.pixels, picture.reduced)


@dataclass(frozen=True)
class CropConfig:
    """What a process is given that makes crops for a worker; plain data, without a secret."""

    access: Access
    fetch: FetchLimits
    column: str | None
    decoder: str
    max_pixels: int
    least_px: int | None
    memory_bytes: int
    """What the worker has for pictures: one that does not fit there is refused here."""
    croppings: tuple[Cropping, ...]

    @property
    def crop_bytes(self) -> int:
        """The bytes of all crops of one picture."""
        return sum(cropping.crop_bytes for cropping in self.croppings)


def crop_config(
    config: MillConfig, limits: FetchLimits, readers: Sequence[StageRunner], least_px: int | None, memory_bytes: int
) -> CropConfig:
    """What makes the crops of a worker with this configuration, whose stages `readers` read the original pictures.

    `limits` are those of its own fetching; its tasks share the requests that are under way at once.
    """
    croppings = [Cropping(runner.index, runner.name, _crops_of(runner)) for runner in readers]
    tasks = 1 if config.decode_on is None else config.decode_on.tasks
    return CropConfig(
        config.source_access,
        replace(limits, in_flight=max(LEAST_REQUESTS, limits.in_flight // tasks)),
        config.column,
        config.decoder,
        config.max_pixels,
        least_px,
        memory_bytes,
        tuple(croppings),
    )


def _crops_of(runner: StageRunner) -> Preprocess:
    stage = runner.stage
    assert isinstance(stage, SeesCrops), f"{runner.name} needs whole pictures, for which the job file is checked"
    return stage.preprocess


@dataclass(frozen=True)
class CropRow:
    """One input of a block: its crops CHW by the index of their stages, or the reason why there are none."""

    position: int
    """Counted from the first input of the block."""
    width: int | None
    height: int | None
    decode_s: float
    fetched_bytes: int
    error: RowError | None
    crops: dict[int, Tensor]


class Cropper:
    """`cropper(inputs)` makes the block of these rows of the manifest. Kept by its process for later blocks of one worker."""

    def __init__(self, config: CropConfig) -> None:
        self._config = config
        decoder = decoder_of(config.decoder)
        heads = Heads(decoder.head_bytes, decoder.is_enough) if isinstance(decoder, ReadsHeads) else None
        self._fetcher = Fetcher(config.access, config.fetch, config.column, lambda fetched: fetched, heads)
        self._budget = Budget(config.memory_bytes, config.fetch.window_bytes)
        self._holdings = Holdings(self._budget)
        runners = [StageRunner(each.name, each.index, cast("Any", each)) for each in config.croppings]
        self._preparation = Preparation(
            decoder, runners, self._budget, self._holdings, config.max_pixels, config.least_px
        )

    def __call__(self, inputs: pa.Table) -> np.ndarray:
        """The block, uint8. Raises what `Fetcher` raises where no single input is at fault."""
        return block_of([self._row(fetched) for fetched in self._fetcher.stream(inputs)], self._config.croppings)

    def _row(self, fetched: Fetched) -> CropRow:
        need_bytes = self._preparation.need_bytes(fetched)
        if self._budget.refusal(need_bytes) is None:
            self._budget.change(need_bytes)
        item = self._preparation.prepare(fetched, need_bytes)
        waiting = [waiting for row in item.rows for waiting in row.prepared] if item.error is None else []
        # Each is copied: a crop may be a view of a picture that is larger.
        crops = {each.stage: _copied(each.prepared) for each in waiting}
        self._holdings.free([each.held for each in waiting])
        pieces = fetched[1]
        fetched_bytes = 0 if isinstance(pieces, RowError) else sum(map(len, pieces))
        return CropRow(item.position, *_size_of(item), item.decode_s, fetched_bytes, item.error, crops)


def _copied(crop_CHW: Tensor) -> Tensor:
    """The crop in HWC memory order, as stages stack it."""
    from pixelmill.workers.typed_torch import from_numpy

    crop_HWC = np.array(crop_CHW.permute(1, 2, 0).numpy(), order="C")
    if crop_HWC.dtype != np.uint8:
        raise TypeError(f"a crop is uint8, not {crop_HWC.dtype}")
    return from_numpy(crop_HWC).permute(2, 0, 1)


def _size_of(item: Item) -> tuple[int | None, int | None]:
    if item.error is not None:
        return None, None
    (row,) = item.rows
    return row.width, row.height


# -------------------------------------------------------------------------------------------------------------- a block


def block_of(rows: Sequence[CropRow], croppings: Sequence[Cropping]) -> np.ndarray:
    """The rows as the bytes of an Arrow IPC stream, uint8; pixels lie in it as HWC."""
    facts = [
        [row.position for row in rows],
        [row.width for row in rows],
        [row.height for row in rows],
        [row.decode_s for row in rows],
        [row.fetched_bytes for row in rows],
        [None if row.error is None else row.error.stage for row in rows],
        [None if row.error is None else row.error.error_type for row in rows],
        [None if row.error is None else str(row.error) for row in rows],
    ]
    fields, columns = [*_FACTS], [pa.array(values, field.type) for values, field in zip(facts, _FACTS, strict=True)]
    for each in croppings:
        crops = [row.crops.get(each.index) for row in rows]
        fields += [
            pa.field(f"pixels_{each.index}", pa.binary()),
            pa.field(f"shape_{each.index}", pa.list_(pa.int32(), 3)),
        ]
        columns += [
            pa.array(
                [None if crop is None else crop.permute(1, 2, 0).numpy().tobytes() for crop in crops], pa.binary()
            ),
            pa.array([None if crop is None else list(crop.shape) for crop in crops], pa.list_(pa.int32(), 3)),
        ]
    return packed(pa.table(columns, schema=pa.schema(fields)))


def rows_in(block: np.ndarray, croppings: Sequence[Cropping]) -> Iterator[CropRow]:
    """The rows of a block, whose crops have memory of their own."""
    table = unpacked(block)
    facts = table.select([field.name for field in _FACTS]).to_pylist()
    pixels = {each.index: (table[f"pixels_{each.index}"], table[f"shape_{each.index}"]) for each in croppings}
    for place, fact in enumerate(facts):
        kind, error_type, text = (fact.pop(name) for name in ("error_stage", "error_type", "error"))
        error = None if kind is None else RowError(kind, error_type, text)
        crops = {} if error else {index: _crop(*columns, place) for index, columns in pixels.items()}
        yield CropRow(**fact, error=error, crops=crops)


def _crop(pixels: Any, shape: Any, place: int) -> Tensor:
    from pixelmill.workers.typed_torch import from_numpy

    channels, height, width = shape[place].as_py()
    pixels_HWC = np.frombuffer(pixels[place].as_buffer(), np.uint8).reshape(height, width, channels)
    return from_numpy(pixels_HWC.copy()).permute(2, 0, 1)


def packed(table: pa.Table) -> np.ndarray:
    """A table as the bytes of an Arrow IPC stream, uint8: of a slice only its own rows."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return np.frombuffer(cast("Any", sink.getvalue()), np.uint8)


def unpacked(data: np.ndarray) -> pa.Table:
    return pa.ipc.open_stream(pa.py_buffer(cast("Any", data))).read_all()
