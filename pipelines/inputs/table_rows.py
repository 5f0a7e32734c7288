"""Read values of Parquet files by row number, in order, so that each page is read once."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from itertools import accumulate, islice

from pixelmill.pipelines.inputs.archives import image_column
from pixelmill.pipelines.inputs.requests import Input
from pixelmill.pipelines.stores.access import Access, open_store
from pixelmill.pipelines.stores.patient_file import open_patiently
from pixelmill.pipelines.stores.reading import require_version
from pixelmill.pipelines.stores.tables import Cell, cells_of, open_parquet


class Turns:
    """Admits threads one at a time, in the order of their tickets; every ticket must be used."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._given = self._serving = 0

    def ticket(self) -> int:
        with self._condition:
            self._given += 1
            return self._given - 1

    @contextmanager
    def wait_for(self, ticket: int) -> Generator[None]:
        with self._condition:
            self._condition.wait_for(lambda: self._serving == ticket)
        try:
            yield
        finally:
            with self._condition:
                self._serving += 1
                self._condition.notify_all()


class Tables:
    """Reads values of Parquet files by row number; keeps its position in the last two files, since rows come in order.
    For one thread at a time.
    """

    def __init__(self, access: Access, column: str | None) -> None:
        self._access, self._column = access, column
        self._open: OrderedDict[tuple[str, str | None], _OpenTable] = OrderedDict()

    def value(self, item: Input) -> Cell:
        key = item.uri, item.version
        table = self._open.pop(key, None) or _OpenTable(*key, self._access, self._column)
        value = table.value(item.offset or 0)  # a table that could not be read is opened again the next time
        self._open[key] = table
        if len(self._open) > 2:
            self._open.popitem(last=False)
        return value


class _OpenTable:
    def __init__(self, uri: str, version: str | None, access: Access, column: str | None) -> None:
        self._require = lambda: require_version(uri, version, access)
        store, path = open_store(uri, access)
        self._parquet = open_parquet(open_patiently(store, path, access))
        self._column = image_column(self._parquet.schema_arrow, column, uri)
        groups = [self._parquet.metadata.row_group(g).num_rows for g in range(self._parquet.metadata.num_row_groups)]
        self._starts = [0, *accumulate(groups)]
        self._group, self._next = -1, 0
        self._cells: Iterator[Callable[[], Cell]] = iter(())

    def value(self, row: int) -> Cell:
        group = bisect_right(self._starts, row) - 1
        if group != self._group or row < self._next:
            if group >= len(self._starts) - 1:
                raise LookupError(f"the table has {self._starts[-1]:,} rows")
            self._require()
            follows = group > 0 and row == self._next == self._starts[group]  # so do the next groups, as it seems
            self._cells = cells_of(self._parquet, group, self._column, reads_on=follows)
            self._group, self._next = group, self._starts[group]
        cell = next(islice(self._cells, row - self._next, None), None)
        self._next = row + 1
        if cell is None:
            raise LookupError("the table ends before its footer says")
        return cell()
