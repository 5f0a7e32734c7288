"""Explore the results: columns, rows in batches, nearest neighbours over a column of vectors.

Legend: N rows, Q queries, D dimension of a vector.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pixelmill.pipelines.arrow import by_falling, fields_of, inverted, is_equal, strings_of
from pixelmill.pipelines.inputs.names import spelled
from pixelmill.pipelines.outputs.columns import DATA
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import declared_schema, open_parquet
from pixelmill.workers.errors import JobError

BATCH_ROWS = 16_384
TINY = 1e-12
"""Replaces the length of a zero vector."""

# Rows


def schema_of(folder: Folder) -> pa.Schema:
    """Names and types as they were written, without the files' metadata; empty before the first part."""
    for name in folder.names(DATA):
        with folder.open(f"{DATA}/{name}") as file, open_parquet(file) as parquet:
            return declared_schema(parquet).remove_metadata()
    return pa.schema([])


def count_rows(folder: Folder) -> int:
    """The number of finished rows, from the footers alone."""
    total = 0
    for name in folder.names(DATA):
        with folder.open(f"{DATA}/{name}") as file, open_parquet(file) as parquet:
            total += parquet.metadata.num_rows
    return total


def memory_bytes(folder: Folder, columns: Sequence[str] | None) -> int:
    """The approximate memory of these columns, from the footers alone; repeated values of a dictionary count once."""
    total = 0
    for name in folder.names(DATA):
        with folder.open(f"{DATA}/{name}") as file, open_parquet(file) as parquet:
            groups = [parquet.metadata.row_group(index) for index in range(parquet.num_row_groups)]
            total += sum(_group_bytes(group, columns) for group in groups)
    return total


def _group_bytes(group: Any, columns: Sequence[str] | None) -> int:
    chunks = [group.column(index) for index in range(group.num_columns)]
    chosen = [chunk for chunk in chunks if columns is None or chunk.path_in_schema.partition(".")[0] in columns]
    return sum(chunk.total_uncompressed_size for chunk in chosen)


def column_types(folder: Folder) -> dict[str, str]:
    """The columns and the names of their types, for a person."""
    return {field.name: str(cast("pa.DataType", field.type)) for field in fields_of(schema_of(folder))}


def column_units(folder: Folder) -> dict[str, str]:
    """The units of the columns whose metadata states one."""
    stated = {field.name: (field.metadata or {}).get(b"unit") for field in fields_of(schema_of(folder))}
    return {name: unit.decode("utf-8", "replace") for name, unit in stated.items() if unit is not None}


def vector_columns(folder: Folder) -> list[str]:
    """The columns of vectors that have one length."""
    return [field.name for field in fields_of(schema_of(folder)) if _holds_vectors(field.type)]


def table(folder: Folder, columns: Sequence[str] | None = None) -> pa.Table:
    """Every finished row in memory; see `memory_bytes`."""
    schema = schema_of(folder)
    chosen = schema if columns is None else _part_of(schema, columns)
    return pa.Table.from_batches(batches(folder, columns), chosen)


def batches(
    folder: Folder, columns: Sequence[str] | None = None, parts: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Every finished row of these parts, or of all, at most BATCH_ROWS at a time, with the types as they were written."""
    chosen = None if columns is None else list(columns)
    for name in folder.names(DATA) if parts is None else parts:
        with folder.open(f"{DATA}/{name}") as file, open_parquet(file) as parquet:
            declared = declared_schema(parquet).remove_metadata()
            wanted = declared if chosen is None else _part_of(declared, chosen)
            for batch in cast("Any", parquet).iter_batches(batch_size=BATCH_ROWS, columns=chosen, use_threads=False):
                yield batch.select(wanted.names).cast(wanted)


def _part_of(schema: pa.Schema, columns: Sequence[str]) -> pa.Schema:
    fields = {field.name: field for field in fields_of(schema)}
    return pa.schema([fields[name] for name in columns])


# Vectors


@dataclass(frozen=True)
class Vectors:
    """A column of vectors scaled to length 1, with their inputs."""

    uris: list[str]
    vectors_ND: np.ndarray

    def nearest(self, queries: list[int], count: int) -> list[list[tuple[int, float]]]:
        """For each query row, the `count` other rows with the greatest cosine, nearest first."""
        cosines_QN = self.vectors_ND[queries] @ self.vectors_ND.T
        cosines_QN[np.arange(len(queries)), queries] = -np.inf
        order_QN = np.argsort(-cosines_QN, axis=1)[:, :count]
        return [[(int(n), float(cosines_QN[q, n])) for n in order_N] for q, order_N in enumerate(order_QN)]


def read_vectors(folder: Folder, column: str = "embedding") -> Vectors:
    """Every vector of a run, in memory: 2 KB a row for 512 numbers."""
    rows = table(folder, ["uri", column])
    parts = [_unit_vectors(batch.column(column)) for batch in rows.to_batches()]
    return Vectors(strings_of(rows["uri"]), np.concatenate(parts))


def _holds_vectors(kind: pa.DataType) -> bool:
    return pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type)


def nearest(folder: Folder, column: str, query: str | Sequence[float], count: int) -> pa.Table:
    """The `count` rows with the greatest cosine to a vector, or to the row of an id or uri, which is left out. A uri may
    be a local path in any spelling. Columns id, uri, member, cosine. Makes one pass over the vectors, in batches, and one
    before it to find the row.
    """
    identity, query_D = _query(folder, column, query)
    best = _NEAREST.empty_table()
    for batch in batches(folder, ["id", "uri", "member", column]):
        near = _with_cosines(batch, column, query_D, folder.uri)
        others = near.filter(inverted(is_equal(near["id"].combine_chunks(), identity)))
        best = by_falling(pa.concat_tables([best, others]), "cosine", "id").slice(0, count)
    return best


_NEAREST = pa.schema([("id", pa.string()), ("uri", pa.string()), ("member", pa.string()), ("cosine", pa.float32())])


def _query(folder: Folder, column: str, query: str | Sequence[float]) -> tuple[str, np.ndarray]:
    """The id of the named row, or "" for a vector, and the query as a vector of length 1."""
    if not isinstance(query, str):
        query_D = np.asarray(query, np.float32)
        return "", query_D / max(float(np.linalg.norm(query_D)), TINY)
    uris = pa.array(sorted({query, spelled(query)}))
    for batch in batches(folder, ["id", "uri", column]):
        of_uri = cast("Any", pc).is_in(batch["uri"], value_set=uris)
        found = batch.filter(cast("Any", pc).or_(is_equal(batch["id"], query), of_uri))
        if found.num_rows > 1:
            raise JobError(f"{folder.uri}: several rows come from {query}; give the id of one of them")
        if found.num_rows:
            return str(cast("Any", found)["id"][0]), _unit_vectors(found.column(column))[0]
    raise JobError(
        f"{folder.uri}: holds no finished row of {query}; give the id or the uri of a row, of which "
        f"`pixelmill inspect {quote(folder.uri)}` shows some"
    )


def _with_cosines(batch: pa.RecordBatch, column: str, query_D: np.ndarray, uri: str) -> pa.Table:
    batch = batch.filter(cast("Any", pc).is_valid(batch[column]))
    vectors_ND = _unit_vectors(batch.column(column))
    if query_D.shape != vectors_ND.shape[1:]:
        shape = "x".join(map(str, query_D.shape))
        raise JobError(f"{uri}: {column} has vectors of {vectors_ND.shape[1]} numbers, and the query has {shape}")
    cosines_N = pa.array((vectors_ND @ query_D).astype(np.float32))
    arrays: list[Any] = [batch["id"], batch["uri"], batch["member"], cosines_N]
    return pa.Table.from_arrays(arrays, schema=_NEAREST)


def _unit_vectors(column: Any) -> np.ndarray:
    """The vectors of a column, float32 and of length 1."""
    vectors_ND = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(column), -1)
    lengths_N = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return vectors_ND / np.maximum(lengths_N, TINY)
