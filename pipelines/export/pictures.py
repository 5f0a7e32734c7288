"""Read the pictures of a run, row by row in bounded memory, with the other columns of each row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pyarrow as pa

from pixelmill.pipelines.arrow import fields_of, strings_of, texts_in
from pixelmill.pipelines.export.naming import InputName, fit, portable_part
from pixelmill.pipelines.outputs.columns import DATA, PLACE
from pixelmill.pipelines.outputs.rows import read_files
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import declared_schema, holds_bytes, open_parquet

ROWS_AT_ONCE = 8
"""Rows that are read at once; their pictures may have megabytes each."""
SCALE = "{}_scale"
"""Suffix of the column that has the value of a step of 16-bit pictures."""


@dataclass(frozen=True)
class PictureRow:
    """A finished row: its input, its pictures by column (None if missing), and its other columns."""

    name: InputName
    place: int | None
    pictures: dict[str, bytes | None]
    others: dict[str, object] = field(default_factory=dict[str, object])

    def scale(self, column: str) -> float | None:
        """The value of a step of a 16-bit picture; None for a picture without a unit."""
        found = self.others.get(SCALE.format(column))
        return found if isinstance(found, float) else None


def schema_of_run(folder: Folder) -> pa.Schema:
    """The schema of the first existing part, with the metadata of its fields; empty if there is none yet."""
    for name in folder.names(DATA):
        with folder.open(f"{DATA}/{name}") as file, open_parquet(file) as parquet:
            return declared_schema(parquet)
    return pa.schema([])


def picture_columns(schema: pa.Schema) -> list[str]:
    """The columns that hold encoded pictures, struct<bytes, path>."""
    return [each.name for each in fields_of(schema) if pa.types.is_struct(each.type) and holds_bytes(each.type)]


def folder_of(column: str, columns: Sequence[str], *, portable: bool = False) -> str:
    """The folder of a column's files: named after the column if there are several columns. It never leads out of the export."""
    if len(columns) == 1:
        return ""
    parts = [part for part in column.split("/") if part]
    return "".join(f"{fit(portable_part(part) if portable else part)}/" for part in parts)


def class_lists(schema: pa.Schema, columns: Sequence[str], *, portable: bool = False) -> dict[str, bytes]:
    """classes.json for each column of masks, as in a training data set: the names of the classes by id."""
    stated = {each.name: (each.metadata or {}).get(b"classes") for each in fields_of(schema) if each.name in columns}
    return {
        f"{folder_of(column, columns, portable=portable)}classes.json": json.dumps(
            {"classes": json.loads(names)}
        ).encode()
        for column, names in stated.items()
        if names is not None
    }


def rows_of_part(folder: Folder, part: str, columns: Sequence[str]) -> Iterator[PictureRow]:
    """The rows of a data file, with these columns of pictures and every column without pictures."""
    with folder.open(f"{DATA}/{part}") as file, open_parquet(file) as parquet:
        schema = declared_schema(parquet)
        left_out = {*picture_columns(schema)} - {*columns}
        wanted = [each.name for each in fields_of(schema) if each.name not in left_out]
        batches = cast("Any", parquet).iter_batches(batch_size=ROWS_AT_ONCE, columns=wanted, use_threads=False)
        for batch in batches:
            for row in batch.to_pylist():
                yield _row(row, columns)


def _row(row: dict[str, Any], columns: Sequence[str]) -> PictureRow:
    pictures = {column: None if row[column] is None else row[column]["bytes"] for column in columns}
    others = {name: value for name, value in row.items() if name not in pictures}
    return PictureRow(InputName(row["id"], row["uri"], row.get("member")), row.get(PLACE.name), pictures, others)


class ListedInputs:
    """Every input of the manifest, in the order of its listings, once each."""

    def __init__(self, folder: Folder, segments: Sequence[Segment]) -> None:
        self._folder = folder
        self._segments = [segment for segment in segments if not segment.supersedes]

    def __len__(self) -> int:
        return sum(segment.rows for segment in self._segments)

    def __iter__(self) -> Iterator[list[InputName]]:
        for segment in self._segments:
            for table in read_files(self._folder, segment, ["id", "uri", "member"]):
                ids, uris = strings_of(table["id"]), strings_of(table["uri"])
                yield [InputName(*each) for each in zip(ids, uris, texts_in(table["member"]), strict=True)]
