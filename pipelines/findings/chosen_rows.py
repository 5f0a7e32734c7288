"""Some rows of a run, found by their ids: their columns, their encoded pictures, and the bytes of their inputs.

Reads the ids of every part, and then only the row groups that hold a wanted row, a few rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pixelmill.pipelines.arrow import fields_of, rows_of, strings_of
from pixelmill.pipelines.inputs.entries import Source
from pixelmill.pipelines.inputs.fetch import Fetched, Fetcher, FetchLimits, single
from pixelmill.pipelines.outputs.columns import DATA, PLACE
from pixelmill.pipelines.outputs.encoding import is_picture
from pixelmill.pipelines.outputs.rows import read_files
from pixelmill.pipelines.outputs.segments import read_segments
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import declared_schema, open_parquet
from pixelmill.workers.errors import RowError

ROWS_AT_ONCE = 16
MOST_INPUT_BYTES = 128 << 20


@dataclass(frozen=True)
class ChosenRow:
    """A finished row: its small columns, and its encoded pictures by column."""

    values: dict[str, Any]
    pictures: dict[str, bytes | None]

    @property
    def id(self) -> str:
        return str(self.values["id"])


def picture_names(schema: pa.Schema) -> list[str]:
    """The columns of encoded pictures."""
    return [field.name for field in fields_of(schema) if is_picture(field.type)]


def small_names(schema: pa.Schema) -> list[str]:
    """The columns without pictures, vectors and lists of numbers of any length."""
    return [
        field.name
        for field in fields_of(schema)
        if not (is_picture(field.type) or pa.types.is_nested(field.type) or pa.types.is_binary(field.type))
    ]


def chosen_rows(folder: Folder, ids: Sequence[str], pictures: Sequence[str]) -> Iterator[ChosenRow]:
    """The first row of each of these ids, in the order of the run, with these columns of pictures."""
    wanted = pa.array(sorted(set(ids)), pa.string())
    seen: set[str] = set()
    for name in folder.names(DATA):
        with folder.open(f"{DATA}/{name}") as file, open_parquet(file) as parquet:
            schema = declared_schema(parquet)
            groups = _groups_with(parquet, wanted)
            if not groups:
                continue
            columns = [*small_names(schema), *pictures]
            for row in _rows_in(parquet, groups, columns, wanted):
                made = _as_row(row, pictures)
                if made.id not in seen:
                    seen.add(made.id)
                    yield made


def _groups_with(parquet: Any, wanted: pa.Array[Any]) -> list[int]:
    held = [
        parquet.read_row_group(group, columns=["id"], use_threads=False)["id"]
        for group in range(parquet.num_row_groups)
    ]
    return [group for group, ids in enumerate(held) if cast("Any", pc).any(_among(ids, wanted)).as_py()]


def _among(ids: Any, wanted: pa.Array[Any]) -> Any:
    return cast("Any", pc).is_in(ids, wanted)


def _rows_in(parquet: Any, groups: list[int], columns: list[str], wanted: pa.Array[Any]) -> Iterator[dict[str, Any]]:
    for batch in parquet.iter_batches(batch_size=ROWS_AT_ONCE, row_groups=groups, columns=columns, use_threads=False):
        yield from batch.filter(_among(batch["id"], wanted)).to_pylist()


def _as_row(row: dict[str, Any], pictures: Sequence[str]) -> ChosenRow:
    encoded = {name: None if row[name] is None else row[name]["bytes"] for name in pictures}
    return ChosenRow({name: value for name, value in row.items() if name not in encoded}, encoded)


def sampled_ids(folder: Folder, count: int, seed: int = 0) -> list[str]:
    """Ids of finished inputs drawn at random, each once, in the order of the run; every id for a count above their number."""
    held: list[str] = []
    for name in folder.names(DATA):
        with folder.open(f"{DATA}/{name}") as file, open_parquet(file) as parquet:
            there = ["id", *([PLACE.name] if PLACE.name in parquet.schema_arrow.names else [])]
            table = cast("Any", parquet).read(there, use_threads=False)
            if PLACE.name in there:
                table = table.filter(cast("Any", pc).equal(table[PLACE.name], 0))
            held += strings_of(table["id"])
    chosen = np.sort(np.random.default_rng(seed).permutation(len(held))[:count])
    return [held[place] for place in chosen.tolist()]


class Inputs:
    """The bytes of inputs, read from their source as they were listed."""

    def __init__(self, folder: Folder, source: Source) -> None:
        self._folder, self._source = folder, source

    def read(self, ids: Sequence[str]) -> Iterator[tuple[str, bytes | RowError]]:
        """Id and bytes of each of these inputs, or the reason why it can't be read, such as that it is gone."""
        rows = self._manifest_rows(ids)
        if not rows.num_rows:
            return
        limits = FetchLimits(in_flight=8, window_bytes=MOST_INPUT_BYTES, max_bytes=MOST_INPUT_BYTES)
        fetcher = Fetcher[Fetched](self._source.access, limits, self._source.column, lambda found: found)
        names = strings_of(rows["id"])
        for fetched in fetcher.stream(rows):
            yield names[fetched[0].position], single(fetched)

    def _manifest_rows(self, ids: Sequence[str]) -> pa.Table:
        """The last listing of each input counts: a retry lists it again."""
        found: dict[str, pa.Table] = {}
        for segment in read_segments(self._folder):
            for table in read_files(self._folder, segment):
                chosen = rows_of(table, ids)
                found |= {name: chosen.slice(row, 1) for row, name in enumerate(strings_of(chosen["id"]))}
        tables = list(found.values())
        return pa.concat_tables(tables) if tables else pa.table({"id": pa.array([], pa.string())})
