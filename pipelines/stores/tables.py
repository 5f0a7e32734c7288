"""Open untrusted Parquet files: with the types of Parquet only, a few rows at a time.

A Parquet file can name Arrow extension types in its footer (the key ARROW:schema), and Arrow then builds them with code
that some library registered in this process. `import ray.data` registers types whose values are unpickled when they are
looked at, so that a file could run its author's code. Every table that Pixelmill opens comes through `open_parquet`,
which takes that key away before Arrow sees it: what is left are the storage types, at any depth of lists, structs and
maps, and no registered type is ever built.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple, cast

import pyarrow as pa
import pyarrow.parquet as pq

from pixelmill.pipelines.arrow import Column, type_of
from pixelmill.pipelines.stores.read_ahead import ReadAheadFile
from pixelmill.workers.ct.hu_cells import IDS, PLACE, packed


class Parquet(pq.ParquetFile):
    """A Parquet file; `ahead` is told what will be read of it, where it lies in a store."""

    ahead: ReadAheadFile | None = None


Batches = Iterator[pa.RecordBatch]

_MAGIC = b"PAR1"
_ARROW_SCHEMA, _HIDDEN = b"ARROW:schema", b"hidden:types"  # of one length: offsets in the footer stay as they are
_STREAM_BYTES = 1 << 20
_TEXTS_PER_BATCH = 1024
_LABELS_PER_BATCH = 65_536
_MOST_ROWS_PER_BYTE = 1000
SHAPE = ("depth", "height", "width")
"""The columns with the shape of Hounsfield units in a row; a slice has no depth."""


def open_parquet(file: Any) -> Parquet:
    """A Parquet file from a seekable binary file. Raises pa.ArrowInvalid for another kind of file. Pages are read one
    after another, not a row group ahead, so that `iter_batches` holds one page and its dictionary. Read with
    `use_threads=False` too: Arrow's threads keep a reference to the Python file for a while, and releasing it while the
    interpreter ends aborts the process (apache/arrow#33975).
    """
    return _opened(file)


def _opened(file: Any, **options: Any) -> Parquet:
    options |= {"arrow_extensions_enabled": False, "pre_buffer": False, "buffer_size": _STREAM_BYTES}
    parquet = Parquet(file, metadata=_footer(file), **options)
    parquet.ahead = file if isinstance(file, ReadAheadFile) else None
    return parquet


def _footer(file: Any) -> pq.FileMetaData:
    size = file.seek(0, os.SEEK_END)
    end = _read_at(file, max(0, size - 8), min(size, 8))
    length = int.from_bytes(end[:4], "little")
    if end[4:] != _MAGIC:
        raise pa.ArrowInvalid("it does not end as a Parquet file does, or is encrypted")
    if length + 12 > size:
        raise pa.ArrowInvalid("its footer is longer than the file")
    footer = _read_at(file, size - 8 - length, length).replace(_ARROW_SCHEMA, _HIDDEN)
    metadata = pq.read_metadata(pa.BufferReader(_MAGIC + footer + end))  # pyright: ignore[reportUnknownMemberType]
    if metadata.num_rows > size * _MOST_ROWS_PER_BYTE:
        raise pa.ArrowInvalid(f"its footer says {metadata.num_rows:,} rows, more than {size:,} bytes can hold")
    return metadata


def _read_at(file: Any, start: int, size: int) -> bytes:
    file.seek(start)
    return bytes(file.read(size))


def declared_schema(parquet: Parquet) -> pa.Schema:
    """The Arrow types as they were written, for a person; the storage types where one of them is an extension."""
    stored = (parquet.metadata.metadata or {}).get(_HIDDEN, b"")
    try:
        message = base64.b64decode(stored, validate=True)
        if message and b"ARROW:extension:" not in message:
            return pa.ipc.read_schema(pa.py_buffer(message))
    except (binascii.Error, pa.ArrowException, OSError):
        pass
    return parquet.schema_arrow


def read_rows(parquet: Parquet, columns: list[str] | None = None) -> pa.Table:
    """All rows, or only these columns of them; unknown names are left out."""
    if parquet.ahead is None or not parquet.metadata.num_row_groups:
        return parquet.read(columns, use_threads=False)  # pyright: ignore[reportUnknownMemberType]
    return pa.concat_tables([read_group(parquet, group, columns) for group in range(parquet.metadata.num_row_groups)])


def read_group(parquet: Parquet, group: int, columns: list[str] | None = None) -> pa.Table:
    """The rows of one row group, or only these columns of them."""
    _expect(parquet, group, columns)
    return parquet.read_row_group(group, columns, use_threads=False)  # pyright: ignore[reportUnknownMemberType]


def write_parquet(table: pa.Table, **options: Any) -> bytes:
    """A table as a Parquet file; `options` are those of pyarrow."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)  # pyright: ignore[reportUnknownMemberType]
    return sink.getvalue().to_pybytes()


def write_row_groups(table: pa.Table, rows: Iterable[int], **options: Any) -> bytes:
    """A table as a Parquet file whose row groups have so many rows; `options` are those of pyarrow."""
    sink = io.BytesIO()  # whose value is not copied, as that of a sink of Arrow's is
    sink.seek(table.nbytes)
    sink.write(b"\0")  # so large at once: each growth would be a copy
    sink.seek(0)
    with pq.ParquetWriter(sink, table.schema, **options) as writer:
        start = 0
        for count in rows:
            writer.write_table(table.slice(start, count), row_group_size=count)
            start += count
    sink.truncate()
    return sink.getvalue()


def _batches(parquet: Parquet, rows: int, columns: list[str] | None = None) -> Batches:
    for group in range(parquet.metadata.num_row_groups):
        yield from _batches_of(parquet, rows, columns, group)


def _batches_of(
    parquet: Parquet, rows: int, columns: list[str] | None, group: int, *, reads_on: bool = False
) -> Batches:
    _expect(parquet, group, columns, reads_on=reads_on)
    yield from parquet.iter_batches(  # pyright: ignore[reportUnknownMemberType]
        batch_size=rows, row_groups=[group], columns=columns, use_threads=False
    )


def _expect(parquet: Parquet, group: int, columns: list[str] | None, *, reads_on: bool = False) -> None:
    """Say which parts of the file the columns of a row group are; without a choice of columns, that all is read."""
    if parquet.ahead is None:
        return
    metadata = parquet.metadata.row_group(group)
    chunks = [metadata.column(number) for number in range(metadata.num_columns)]
    if columns is not None:
        chunks = [each for each in chunks if _is_within(each.path_in_schema, columns)]
    starts = [min(each.data_page_offset, each.dictionary_page_offset or each.data_page_offset) for each in chunks]
    parts = [(start, start + each.total_compressed_size) for start, each in zip(starts, chunks, strict=True)]
    parquet.ahead.expect(parts, reads_on=reads_on or columns is None)


def _is_within(path: str, columns: list[str]) -> bool:
    return any(f"{path}.".startswith(f"{column}.") for column in columns)


def first_rows(parquet: Parquet, count: int) -> list[dict[str, Any]]:
    """The first rows as Python values, read one by one."""
    batches = _batches(parquet, 1)
    return [row for _, batch in zip(range(count), batches, strict=False) for row in batch.to_pylist()]


def texts_of(file: Any, column: str) -> Iterator[str | None]:
    """The values of a column of text; a value that many rows share is held once."""
    parquet = _opened(file, read_dictionary=[column])
    for batch in _batches(parquet, _TEXTS_PER_BATCH, [column]):
        values = cast("Any", batch.column(column))
        texts = cast("list[str | None]", values.dictionary.to_pylist())
        yield from (None if index is None else texts[index] for index in values.indices.to_pylist())


def integers_of(parquet: Parquet, column: str) -> Column:
    """A whole column of integers: at most 8 bytes per row."""
    kind = type_of(parquet.schema_arrow, column)
    batches = _batches(parquet, _LABELS_PER_BATCH, [column])
    chunks = [cast("Any", batch.column(column)) for batch in batches]
    return cast("Column", pa.chunked_array(chunks, cast("Any", kind)))


def holds_bytes(kind: pa.DataType) -> bool:
    """Whether a column can hold pictures: bytes, or a struct with a field `bytes` of bytes."""
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _is_bytes(type_of(kind, "bytes"))
    return _is_bytes(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def hu_columns(schema: pa.Schema) -> list[str]:
    """The columns of Hounsfield units: list<int16>, with the columns height and width that give their shape."""
    if not set(SHAPE[1:]) <= set(schema.names):
        return []
    return [name for name in schema.names if _is_hu(type_of(schema, name))]


def _is_hu(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) and pa.types.is_int16(cast("Any", kind).value_type)


def _is_place(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) and pa.types.is_int32(cast("Any", kind).value_type)


class Elsewhere(NamedTuple):
    """A row of a struct<bytes, path> without bytes, whose path names the picture."""

    path: str


Cell = pa.Buffer | Elsewhere | None


def cells_of(parquet: Parquet, group: int, column: str, *, reads_on: bool = False) -> Iterator[Callable[[], Cell]]:
    """What gives the bytes of each row of a row group, made for the rows that are wanted; `reads_on` where the groups behind it
    are read too. One row is read at a time, since a few kilobytes can expand to as many gigabytes: every row that names a
    value of a dictionary repeats it. Larger batches are not measurably faster (91 µs for 60 KB either way).
    """
    is_hu = _is_hu(type_of(parquet.schema_arrow, column))
    for batch in _batches_of(parquet, 1, _paths(parquet, column), group, reads_on=reads_on):
        values = cast("Any", batch.column(column))
        for row in range(len(values)):
            yield partial(_hu_cell, batch, column, row) if is_hu else partial(_cell, values[row])


def _hu_cell(batch: pa.RecordBatch, column: str, row: int) -> pa.Buffer | None:
    """The values of a row behind their shape and keyed ids; None where the row has none."""
    columns = cast("dict[str, Any]", {name: batch.column(name) for name in batch.schema.names})
    listed = columns[column][row]
    if not listed.is_valid:
        return None
    depth, height, width = (columns[name][row].as_py() or 0 if name in columns else 1 for name in SHAPE)
    values = listed.values.to_numpy(zero_copy_only=False)
    ids = {name: columns[name][row].as_py() for name in (*IDS, PLACE) if name in columns}
    return pa.py_buffer(packed(values.astype("<i2").tobytes(), (depth, height, width), ids))


def _paths(parquet: Parquet, column: str) -> list[str]:
    """The leaves to read of a column of pictures: of a struct only `bytes` and `path`, with Hounsfield units their shape and
    their keyed ids."""
    schema = parquet.schema_arrow
    kind = type_of(schema, column)
    if _is_hu(kind):
        texts = [name for name in IDS if name in schema.names and pa.types.is_string(type_of(schema, name))]
        places = [PLACE] if PLACE in schema.names and _is_place(type_of(schema, PLACE)) else []
        return [column, *(name for name in SHAPE if name in schema.names), *texts, *places]
    if not pa.types.is_struct(kind):
        return [column]
    has_path = kind.get_field_index("path") >= 0 and pa.types.is_string(type_of(kind, "path"))
    return [f"{column}.bytes", *([f"{column}.path"] if has_path else [])]


def _cell(value: Any) -> pa.Buffer | Elsewhere | None:
    if not value.is_valid:
        return None
    if not pa.types.is_struct(value.type):
        return value.as_buffer()
    fields = dict(value)
    if fields["bytes"].is_valid:
        return fields["bytes"].as_buffer()
    path = fields.get("path")
    return (
        Elsewhere(path.as_buffer().to_pybytes()[:1000].decode("utf-8", "replace"))
        if path is not None and path.is_valid
        else None
    )
