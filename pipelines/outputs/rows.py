"""Read the rows of a manifest: whole files, or those of one part."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import accumulate

import pyarrow as pa

from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.outputs import layout
from pixelmill.pipelines.outputs.layout import completed, file_name
from pixelmill.pipelines.outputs.parts import Part
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import Parquet, open_parquet, read_group, read_rows
from pixelmill.pipelines.stores.whole_files import MOST_TABLE_BYTES
from pixelmill.workers.errors import StoreError


def read_files(folder: Folder, segment: Segment, columns: list[str] | None = None) -> Iterator[pa.Table]:
    for file in range(len(segment.file_rows)):
        name = file_name(segment.number, segment.writer, file)
        table = read_rows(_opened(folder, name), columns)
        yield completed(table) if columns is None else table


def _opened(folder: Folder, name: str) -> Parquet:
    data = folder.read(name, MOST_TABLE_BYTES)
    if data is None:
        raise StoreError(f"{folder.uri}/{name}: is gone, and the manifest names it; copy it back")
    return open_parquet(pa.BufferReader(data))


def superseding_ids(
    folder: Folder, segments: list[Segment], counts: Callable[[Part], bool] = lambda _: True
) -> dict[str, Part]:
    """The last part, of those that count, of each input that was listed again. They are few, since only failures are
    listed again.
    """
    rows, found = Rows(folder, segments), dict[str, Part]()
    for segment in segments:
        for part in filter(counts, segment.parts()) if segment.supersedes else ():
            found |= dict.fromkeys(strings_of(rows.of(part)["id"]), part)
    return found


class Rows:
    """Reads the rows of parts; keeps the last row group in memory, because parts are read in order."""

    def __init__(self, folder: Folder, segments: list[Segment]) -> None:
        self.folder = folder
        self.segments = {segment.number: segment for segment in segments}
        self._group = lru_cache(maxsize=2)(self._read_group)
        self._file = lru_cache(maxsize=2)(self._open)

    def of(self, part: Part) -> pa.Table:
        """The rows of a part, in the manifest's schema and order."""
        segment = self.segments[part.segment]
        starts = [0, *accumulate(segment.file_rows)]
        tables = list[pa.Table]()
        row, end = part.start, part.start + part.rows
        while row < end:
            file = bisect_right(starts, row) - 1
            group, offset = divmod(row - starts[file], layout.ROWS_PER_GROUP)
            table = self._group(segment.number, file, group).slice(offset, end - row)
            tables.append(table)
            row += table.num_rows
        return pa.concat_tables(tables)

    def _open(self, segment: int, file: int) -> Parquet:
        return _opened(self.folder, file_name(segment, self.segments[segment].writer, file))

    def _read_group(self, segment: int, file: int, group: int) -> pa.Table:
        return completed(read_group(self._file(segment, file), group))
