"""Plan requests: how many bytes an input takes, and which neighbours one request reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from pixelmill.pipelines.inputs.entries import Piece
from pixelmill.pipelines.stores.access import scheme_of
from pixelmill.pipelines.stores.inflating import marked

UNKNOWN_BYTES = 1 << 20
"""The assumed bytes of an object of unknown size, until more of it is about to be read."""
DEFLATED = "deflate"
_COLUMNS = ("uri", "container", "offset", "size", "problem", "version")


@dataclass(frozen=True)
class FetchLimits:
    """How much one worker may read at once, and how large one input may be."""

    in_flight: int = 16
    window_rows: int = 64
    window_bytes: int = 256 << 20
    max_bytes: int = 256 << 20
    coalesce_bytes: int = 4 << 20
    memory_bytes: int | None = None
    """The most of the worker's memory that one input may take; `max_bytes` where None."""


GPU_ROWS_AHEAD = 2048
"""A GPU takes a thousand pictures at once, and finds the next thousand fetched and decoded if so many may wait."""
MOST_OF_A_TABLE = 16
"""Rows of a table that one request reads: their bytes are not known before, and are planned for as if each had a megabyte."""


def limits_for(device: str, in_flight: int, max_bytes: int) -> FetchLimits:
    """The limits of a worker of a bulk job; the window's bytes bound what may wait, whatever its rows are."""
    rows = max(FetchLimits.window_rows, 4 * in_flight)
    if device.startswith("cuda"):
        rows = max(rows, GPU_ROWS_AHEAD)
    return FetchLimits(in_flight=in_flight, window_rows=rows, max_bytes=max_bytes)


@dataclass(frozen=True)
class Input:
    """One manifest row to be read; `pieces` are its objects or ranges where it has several."""

    position: int
    uri: str
    container: str | None
    offset: int | None
    size: int | None
    problem: str | None
    version: str | None = None
    pieces: tuple[Piece, ...] | None = None


@dataclass(frozen=True)
class Request:
    """Inputs that one thread reads at once: one object, a few local files, neighbours in a tar shard, or rows of one
    Parquet row group."""

    inputs: tuple[Input, ...]

    @property
    def weight_bytes(self) -> int:
        return sum(map(weight_of, self.inputs))


def weight_of(item: Input) -> int:
    """The planned bytes of an input, with all its pieces."""
    if item.size is not None:
        return item.size
    return UNKNOWN_BYTES if item.pieces is None else sum(weights_of(item))


def weights_of(item: Input) -> list[int]:
    """The planned bytes of each piece of an input."""
    if item.pieces is None:
        return [weight_of(item)]
    return [UNKNOWN_BYTES if piece.size is None else piece.size for piece in item.pieces]


def inputs_of(rows: pa.Table) -> list[Input]:
    """The rows of a manifest table as inputs, numbered from 0."""
    columns = [rows[name].to_pylist() for name in _COLUMNS]
    has_pieces = "pieces" in rows.column_names and rows["pieces"].null_count < rows.num_rows
    if not has_pieces:
        return [Input(position, *values) for position, values in enumerate(zip(*columns, strict=True))]
    columns.append([_pieces_of(value) for value in rows["pieces"].to_pylist()])
    return [Input(position, *values) for position, values in enumerate(zip(*columns, strict=True))]


def apart(item: Input) -> Input:
    """An input of which only the beginning is read: it shares no request, and its size does not count."""
    if item.problem is not None or item.pieces is not None or item.container == "parquet":
        return item
    if item.container is None and item.size != 0:  # a store refuses a range of an empty object
        return replace(item, size=None)
    uri = marked(item.uri) if item.container == DEFLATED else item.uri
    return replace(item, container=None, pieces=(Piece(uri, item.offset, item.size, item.version),))


def _pieces_of(value: list[dict[str, Any]] | None) -> tuple[Piece, ...] | None:
    return None if value is None else tuple(Piece(**piece) for piece in value)


def plan_requests(inputs: Sequence[Input], limits: FetchLimits) -> Iterator[Request]:
    """Join neighbours in one archive into one read, up to `coalesce_bytes` and a quarter of the window's rows.

    One thread reads several small local files in a row, as many as leave work for all threads: waking a thread and
    being woken by it costs more than reading a file for microseconds.
    """
    group: list[Input] = []
    for item in inputs:
        if group and not _together(group, item, limits):
            yield Request(tuple(group))
            group = []
        group.append(item)
    if group:
        yield Request(tuple(group))


def _together(group: list[Input], item: Input, limits: FetchLimits) -> bool:
    last = group[-1]
    if item.pieces is not None or last.pieces is not None:
        return False
    if item.container is None and last.container is None:
        both_local = scheme_of(item.uri) == scheme_of(last.uri) == "file"
        fits = sum(map(weight_of, group)) + weight_of(item) <= limits.coalesce_bytes
        return both_local and fits and len(group) < limits.window_rows // limits.in_flight
    if len(group) >= limits.window_rows // 4:
        return False
    if (
        item.problem
        or last.problem
        or item.container is None
        or (item.uri, item.container) != (last.uri, last.container)
    ):
        return False
    if item.container == "parquet":
        return len(group) < MOST_OF_A_TABLE
    if last.offset is None or item.offset is None or item.size is None or last.size is None:
        return False
    gap = item.offset - (last.offset + last.size)
    span = item.offset + item.size - (group[0].offset or 0)
    return 0 <= gap <= 65_536 and span <= limits.coalesce_bytes


def is_of_a_table(request: Request) -> bool:
    return request.inputs[0].container == "parquet" and request.inputs[0].problem is None
