"""Decode the bytes of one input, prepare its pictures for each stage that reads the original, and count their memory.

The work runs within memory that was reserved from the budget in advance; the memory that is held afterwards is counted exactly.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from pixelmill.pipelines.bulk.items import Item, Row, Waiting
from pixelmill.pipelines.bulk.row_errors import filed_under, row_error_of
from pixelmill.pipelines.bulk.stage_runner import StageRunner
from pixelmill.pipelines.inputs.fetch import Fetched
from pixelmill.workers.decoders import Decoded, Decoder, Reduces
from pixelmill.workers.errors import RowError
from pixelmill.workers.runtime.budget import Budget
from pixelmill.workers.runtime.holdings import Holdings


class Preparation:
    """`prepare(fetched, need_bytes)` is thread-safe and raises nothing but DeviceFault."""

    def __init__(
        self,
        decoder: Decoder,
        runners: Sequence[StageRunner],
        budget: Budget,
        holdings: Holdings,
        max_pixels: int,
        least_px: int | None = None,
    ) -> None:
        """`runners` are the stages that read the original; with `least_px` they are given it as small as that, where the
        decoder can."""
        self._decoder, self._runners, self._budget, self._holdings = decoder, runners, budget, holdings
        self._decode = _decode_by(decoder, max_pixels, least_px)
        self._max_pixels = max_pixels

    def need_bytes(self, fetched: Fetched) -> int:
        """The memory of decoding plus the fetched bytes; only the latter for an input that can't be decoded."""
        pieces = fetched[1]
        if isinstance(pieces, RowError):
            return 0
        read_bytes = sum(map(len, pieces))
        try:
            return read_bytes + self._decoder.need_bytes(pieces)
        except RowError:  # the decoder will raise the same
            return read_bytes

    def prepare(self, fetched: Fetched, need_bytes: int) -> Item:
        """The prepared input, within `need_bytes` that were reserved from the budget unless that is impossible."""
        start_s = time.perf_counter()
        pieces = fetched[1]
        refusal = self._budget.refusal(need_bytes)
        if isinstance(pieces, RowError):
            item = self._failed(fetched, pieces, 0 if refusal else need_bytes)
        elif refusal is not None:
            item = Item(fetched[0].position, error=self._why_refused(pieces, refusal))
        else:
            item = self._decoded(fetched, pieces, need_bytes)
        item.decode_s = time.perf_counter() - start_s
        return item

    def _why_refused(self, pieces: Sequence[bytes], refusal: RowError) -> RowError:
        """The error of a picture that does not fit: a broken or refused one by its header, otherwise one that is too large."""
        try:
            self._decoder.check(pieces, max_pixels=self._max_pixels)
        except RowError as error:
            return filed_under(error.stage, error)
        return refusal

    def _decoded(self, fetched: Fetched, pieces: Sequence[bytes], taken_bytes: int) -> Item:
        item = Item(fetched[0].position)
        waiting: list[Waiting] = []
        try:
            for picture, columns, has_size in self._pictures(pieces):
                width, height = (picture.width, picture.height) if has_size else (None, None)
                row = Row(item, width, height, columns)
                item.rows.append(row)
                row.prepared += [runner.prepare(row, picture) for runner in self._runners]
                waiting += row.prepared
        except RowError as error:
            return self._failed(fetched, error, taken_bytes)
        held = self._holdings.hold([each.prepared for each in waiting], taken_bytes)
        for each, blocks in zip(waiting, held, strict=True):
            each.held = blocks
        item.held_bytes = self._holdings.share_bytes(held)
        return item

    def _pictures(self, pieces: Sequence[bytes]) -> Iterator[Decoded]:
        """The pictures of the decoder, one after the other. RowError with stage "decode" if there are none."""
        count = 0
        try:
            for decoded in self._decode(pieces):
                yield decoded
                count += 1
        except RowError:
            raise
        except Exception as error:
            raise row_error_of(error, "decode") from error
        if not count:
            raise RowError("decode", "NoPictures", "holds no picture")

    def _failed(self, fetched: Fetched, error: RowError, taken_bytes: int) -> Item:
        self._budget.change(-taken_bytes)
        return Item(fetched[0].position, error=filed_under(error.stage, error))


def _decode_by(
    decoder: Decoder, max_pixels: int, least_px: int | None
) -> Callable[[Sequence[bytes]], Iterable[Decoded]]:
    if least_px is not None and isinstance(decoder, Reduces):
        return partial(decoder.decode_reduced, least_px=least_px, max_pixels=max_pixels)
    return partial(decoder.decode, max_pixels=max_pixels)
