"""The table of one order: a row for every picture of every input, in order, or one row with the reason of a failure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from pixelmill.pipelines.bulk.items import Item, Row
from pixelmill.pipelines.bulk.stage_queues import StageOutput
from pixelmill.pipelines.inputs.earlier_runs import SOURCE_ID
from pixelmill.pipelines.outputs.columns import ERROR_COLUMNS, PLACE, input_fields
from pixelmill.pipelines.outputs.encoding import is_picture
from pixelmill.workers.credentials import scrub
from pixelmill.workers.decoders import Decoder
from pixelmill.workers.errors import RowError
from pixelmill.workers.stages import Stage

if TYPE_CHECKING:
    Column = pa.Array[Any] | pa.ChunkedArray[Any]

CHUNK_BYTES = 1 << 30
"""Largest chunk of texts or pictures: Arrow counts its bytes in signed 32 bits, so it has to stay below 2 GiB."""
COPIED_BYTES = 256 << 10
"""Smaller pictures are copied into shared chunks, which limits the number of chunks."""

_FROM_MANIFEST = ("id", "uri", "member", SOURCE_ID.name)


def table_of(
    inputs: pa.Table,
    items: Sequence[Item],
    decoder: Decoder,
    stages: Sequence[Stage],
    outputs: Sequence[StageOutput],
    *,
    has_source_ids: bool = False,
    chunk_bytes: int = CHUNK_BYTES,
) -> pa.Table:
    """`inputs` are the manifest rows of the order, `items` their results, `outputs` those of each stage, which are consumed.

    A column of more than `chunk_bytes` is in chunks.
    """
    rows = _number_rows(items)
    fields: list[pa.Field[Any]] = [
        *input_fields(makes_many=decoder.makes_many, has_source_ids=has_source_ids),
        *decoder.fields,
    ]
    columns = {**_input_columns(inputs, items, rows), **_picture_columns(rows, decoder)}
    for stage, output in zip(stages, outputs, strict=True):
        fields += stage.fields
        columns |= {column.name: _aligned(column, output, len(rows), chunk_bytes) for column in stage.fields}
    errors = [row.error if isinstance(row, Item) else None for row in rows]
    columns |= dict(zip(ERROR_COLUMNS, _error_columns(errors), strict=True))
    schema = pa.schema([*fields, *(pa.field(name, pa.string()) for name in ERROR_COLUMNS)])
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _number_rows(items: Sequence[Item]) -> list[Row | Item]:
    """The rows of the table: those of each input, numbered, or one row for a failed input."""
    rows: list[Row | Item] = []
    for item in items:
        if item.error is not None:
            rows.append(item)
            continue
        for row in item.rows:
            row.number = len(rows)
            rows.append(row)
    return rows


def _input_columns(inputs: pa.Table, items: Sequence[Item], rows: Sequence[Row | Item]) -> dict[str, Column]:
    chosen = inputs.select(list(_FROM_MANIFEST))
    if len(rows) != len(items):
        positions = [row.position if isinstance(row, Item) else row.item.position for row in rows]
        chosen = chosen.take(pa.array(positions, pa.int64()))
    return {name: chosen[name] for name in _FROM_MANIFEST}


def _picture_columns(rows: Sequence[Row | Item], decoder: Decoder) -> dict[str, Column]:
    """Size, place and the decoder's columns; null if the input failed."""
    pictures = [None if isinstance(row, Item) else row for row in rows]
    columns: dict[str, Column] = {
        "width": pa.array([row and row.width for row in pictures], pa.int32()),
        "height": pa.array([row and row.height for row in pictures], pa.int32()),
    }
    if decoder.makes_many:
        columns["place"] = pa.array(_places(pictures), PLACE.type)
    for column in decoder.fields:
        columns[column.name] = pa.array([row and row.columns[column.name] for row in pictures], column.type)
    return columns


def _places(rows: Sequence[Row | None]) -> list[int | None]:
    places: list[int | None] = []
    item, place = None, 0
    for row in rows:
        place = place + 1 if row is not None and row.item is item else 0
        item = row and row.item
        places.append(None if row is None else place)
    return places


def _error_columns(errors: Sequence[RowError | None]) -> list[pa.Array[Any]]:
    """Stage, type and message."""
    texts = [error and (scrub(error.stage), scrub(error.error_type), scrub(str(error))) for error in errors]
    return [pa.array([text and text[place] for text in texts], pa.string()) for place in range(3)]


def _aligned(column: pa.Field[Any], output: StageOutput, rows: int, chunk_bytes: int) -> Column:
    """One stage's column in the order of the rows, null if the input failed; in chunks if it exceeds the limit of one."""
    pieces = [piece for chunk in output.chunks for piece in _pieces(chunk.pop(column.name))]
    if not pieces:
        return _nulls(rows, column.type)
    places: list[int | None] = [None] * rows
    for place, row in enumerate(output.rows):
        if row.number is not None:
            places[row.number] = place
    if is_picture(column.type) or sum(piece.nbytes for piece in pieces) > chunk_bytes:
        return _in_chunks(pieces, places, column.type, chunk_bytes)
    return pa.concat_arrays(pieces).take(pa.array(places, pa.int64()))


def _in_chunks(
    pieces: Sequence[pa.Array[Any]], places: Sequence[int | None], kind: pa.DataType, chunk_bytes: int
) -> Column:
    """The values at these positions of the concatenated pieces, in chunks of at most so many bytes or one value.

    A large value has its own chunk and is not copied.
    """
    values = [piece.slice(index, 1) for piece in pieces for index in range(len(piece))]
    chunks: list[list[pa.Array[Any]]] = [[]]
    held_bytes = 0
    for place in places:
        value = _nulls(1, kind) if place is None else values[place]
        if chunks[-1] and held_bytes + value.nbytes > min(chunk_bytes, COPIED_BYTES):
            chunks.append([])
            held_bytes = 0
        chunks[-1].append(value)
        held_bytes += value.nbytes
    return pa.chunked_array([pa.concat_arrays(chunk) if len(chunk) > 1 else chunk[0] for chunk in chunks])


def _pieces(column: Column) -> Sequence[pa.Array[Any]]:
    return column.chunks if isinstance(column, pa.ChunkedArray) else [column]


def _nulls(rows: int, kind: pa.DataType) -> pa.Array[Any]:
    return cast("pa.Array[Any]", pa.nulls(rows, cast("Any", kind)))
