"""Write the vectors of a run as NumPy arrays, as vector search libraries read them: a file for each part, rows in one order.

DEST/
  COLUMN/PART.npy           the vectors of a part, N x D, in the type of the run
  metadata/PART.parquet     id, uri, member and place of the same rows, in the same order; `uri` is as in `data_set.py`
  _export/                  the records of `destination.py`
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pixelmill.pipelines import explore
from pixelmill.pipelines.export.data_set import KEYS, DataSetExport
from pixelmill.pipelines.export.destination import Destination
from pixelmill.pipelines.export.pictures import folder_of
from pixelmill.pipelines.export.row_parts import RowsExported, WrittenPart, export_parts
from pixelmill.pipelines.outputs.encoding import encode
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError

METADATA = "metadata"


def array_columns(run: Folder, wanted: Sequence[str]) -> list[str]:
    """The columns of vectors that were asked for; all of them where none was. JobError where there is none."""
    there = explore.vector_columns(run)
    if not there:
        names = ", ".join(explore.schema_of(run).names)
        raise JobError(f"{run.uri}: holds no vectors, only {names}; run the stage embed or encode over its source")
    if unknown := [name for name in wanted if name not in there]:
        raise JobError(f"--column {unknown[0]}: is no column of vectors; there are {', '.join(there)}")
    return [name for name in there if not wanted or name in wanted]


class ArraysExport:
    """The vectors of one run on their way to one destination, a part at a time in memory."""

    def __init__(self, run: Folder, columns: Sequence[str], root: str, destination: Destination) -> None:
        keys = [name for name in explore.schema_of(run).names if name in KEYS]
        self._columns, self._keys, self._destination = tuple(columns), keys, destination
        self._rows, self._run = DataSetExport(run, [*keys, *columns], root, destination), run
        self.tally = RowsExported()

    def work(self, parts: Sequence[str], report: Callable[[RowsExported], None]) -> None:
        """Export every missing part. RunRefused if the destination has files of another run or from elsewhere."""
        export_parts(self._run, self._destination, parts, self._write, self.tally, report)

    def _write(self, part: str) -> WrittenPart:
        with explained(self._run.uri, "reading the run"):
            table = with_vectors(self._rows.rows_of(part), self._columns)
        folders = {name: folder_of(name, (name, METADATA)) for name in self._columns}
        files = {f"{folders[name]}{_stem(part)}.npy": npy_of(array_of(table[name])) for name in self._columns}
        files[f"{METADATA}/{part}"] = encode(table.select(self._keys))
        for name, data in files.items():
            self._destination.put(name, data)
        return WrittenPart(table.num_rows, table.nbytes, sum(map(len, files.values())))


def with_vectors(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """The rows that have a vector in each of the columns."""
    untyped: Any = pc
    for name in columns:
        table = table.filter(untyped.is_valid(table[name]))
    return table


def array_of(column: Any) -> np.ndarray:
    """A column of vectors without nulls as N x D."""
    size = column.type.list_size
    return column.combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, size)


def npy_of(array: np.ndarray) -> bytes:
    """The bytes of a .npy file; of numbers alone, so that it loads without pickle."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _stem(part: str) -> str:
    return part.removesuffix(".parquet")
