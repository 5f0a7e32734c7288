"""Take the inputs that decoding tasks have cropped into the worker, in order, and count them in its memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa

from pixelmill.pipelines.bulk.crops import Cropping, CropRow, rows_in
from pixelmill.pipelines.bulk.items import Item, Row, Waiting
from pixelmill.pipelines.bulk.stage_runner import StageRunner
from pixelmill.pipelines.bulk.tally import Tally
from pixelmill.workers.runtime.budget import Budget
from pixelmill.workers.runtime.holdings import Holdings

Arrived = tuple[int, pa.Table, np.ndarray | None]
"""The place of the first input of a chunk in its order, its inputs, and its block; None for one that the worker has to decode."""
MakeRoom = Callable[[int], None]


class Tasks(Protocol):
    """What decodes elsewhere, see `DecodeTasks`."""

    def stream(self, inputs: pa.Table) -> Iterator[Arrived]: ...


class Arrivals:
    """`stream(chunks(inputs), here, make_room)` yields the items of these inputs, in order.

    `here(inputs)` decodes inputs in this process; `make_room(needed_bytes)` has to free so many bytes of the budget.
    """

    def __init__(
        self,
        tasks: Tasks,
        croppings: Sequence[Cropping],
        runners: Sequence[StageRunner],
        budget: Budget,
        holdings: Holdings,
        tally: Tally,
    ) -> None:
        """`runners` are all stages of the job."""
        self.chunks = tasks.stream
        self._croppings, self._runners = croppings, runners
        self._budget, self._holdings, self._tally = budget, holdings, tally

    def stream(
        self, chunks: Iterator[Arrived], here: Callable[[pa.Table], Iterator[Item]], make_room: MakeRoom
    ) -> Iterator[Item]:
        for start, inputs, block in chunks:
            for item in here(inputs) if block is None else self._items(block, make_room):
                item.position += start
                yield item

    def _items(self, block: np.ndarray, make_room: MakeRoom) -> Iterator[Item]:
        for row in rows_in(block, self._croppings):
            self._tally.fetched_bytes += row.fetched_bytes
            yield self._item(row, make_room)

    def _item(self, found: CropRow, make_room: MakeRoom) -> Item:
        item = Item(found.position, error=found.error, decode_s=found.decode_s)
        if found.error is not None:
            return item
        need_bytes = sum(crop_CHW.nbytes for crop_CHW in found.crops.values())
        if not self._budget.try_take(need_bytes):
            make_room(need_bytes)
            self._budget.change(need_bytes)
        row = Row(item, found.width, found.height, {})
        row.prepared += [self._runners[index].waiting(row, crop_CHW) for index, crop_CHW in found.crops.items()]
        item.rows.append(row)
        self._hold(row.prepared, need_bytes)
        item.held_bytes = need_bytes
        return item

    def _hold(self, waiting: Sequence[Waiting], taken_bytes: int) -> None:
        held = self._holdings.hold([each.prepared for each in waiting], taken_bytes)
        for each, blocks in zip(waiting, held, strict=True):
            each.held = blocks
