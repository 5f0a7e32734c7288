"""One run that is served: its table of rows, its cells and inputs, opened when they are first asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import pyarrow as pa

from pixelmill.jobs.documents.kinds import Kind
from pixelmill.jobs.reporting.content import source_of
from pixelmill.jobs.runs.folders import RunFolder
from pixelmill.pipelines.browsing.row_cells import RowCells, RowInputs, first_schema
from pixelmill.pipelines.browsing.row_table import RowTable
from pixelmill.pipelines.outputs.columns import SUCCESS
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError

Holds = Kind | Literal["curve"]
FRESH_S, FRESH_WHEN_COMPLETE_S = 3.0, 20.0
"""For how long the rows that were read count as those of the run."""
Made = TypeVar("Made")


class ServedRun:
    """A run by its number. Methods may be called from many threads."""

    def __init__(
        self, number: int, run: RunFolder, kind: Holds | None, database: Path, environment: Mapping[str, str]
    ) -> None:
        self.number, self.run, self.kind = number, run, kind
        self._database, self._environment = database, environment
        self._lock = threading.Lock()
        self._read_s: float | None = None
        self._listed_rows = 0
        self._kept: dict[str, tuple[object, Any]] = {}
        self._keeping: dict[str, threading.Lock] = {}
        self.notes: list[str] = []

    @property
    def folder(self) -> Folder:
        return self.run.folder

    @property
    def name(self) -> str:
        return self.folder.uri.rstrip("/").rpartition("/")[2] or self.folder.uri

    @property
    def cells(self) -> RowCells:
        """Reads anew where parts were removed: the next part of such a name may hold other rows."""
        return self.kept("cells", lambda: self.table.generation, lambda: RowCells(self.folder))

    @property
    def table(self) -> RowTable:
        """The rows of the run as they are now, or were a few seconds ago. JobError for what has no rows: a training, a flow."""
        if self.kind not in ("job", None):
            raise JobError(f"{self.folder.uri}: is a {self.kind}, which has no rows")
        with self._lock, explained(self.folder.uri, "reading the rows of the run"):
            if self._is_due():
                self._table.refresh()
                self._read_s = time.monotonic()
            return self._table

    @cached_property
    def _table(self) -> RowTable:
        return RowTable(self.folder, self._database)

    def _is_due(self) -> bool:
        if self._read_s is None:
            return True
        age_s = time.monotonic() - self._read_s
        return age_s > FRESH_WHEN_COMPLETE_S or (age_s > FRESH_S and not self.folder.exists(SUCCESS))

    @property
    def stamp(self) -> tuple[object, ...]:
        """What was made of the rows and of what was found out about them is made again once this differs."""
        table = self.table
        return table.generation, table.rows, tuple(table.results.items())

    def schema(self) -> pa.Schema:
        return self.kept("schema", self._has_rows, lambda: first_schema(self.folder))

    def _has_rows(self) -> bool:
        return self.table.rows > 0

    def inputs(self, part: str) -> RowInputs | None:
        """The way to the inputs; None, with a note, where they can't be shown. Listed anew where a part is not known yet."""
        found = self.kept("inputs", lambda: self._listed_rows, self._open_inputs)
        if found is not None and not found.knows(part):
            self._listed_rows = self.table.rows
            found = self.kept("inputs", lambda: self._listed_rows, self._open_inputs)
        return found

    def _open_inputs(self) -> RowInputs | None:
        source = source_of(self.folder, self._environment, self.notes)
        return None if source is None else RowInputs(self.folder, source)

    def kept(self, name: str, stamp: Callable[[], object], make: Callable[[], Made]) -> Made:
        """What `make` gives, kept as long as `stamp` stays the same. Made once, however many ask."""
        with self._lock_of(name):
            now = stamp()
            if name not in self._kept or self._kept[name][0] != now:
                with explained(self.folder.uri, "reading the run"):
                    self._kept[name] = (now, make())
            return self._kept[name][1]

    def _lock_of(self, name: str) -> threading.Lock:
        with self._lock:
            return self._keeping.setdefault(name, threading.Lock())

    def close(self) -> None:
        if "_table" in self.__dict__:
            self._table.close()
