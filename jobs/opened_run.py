"""The output folder of a run for use in Python: tables, failures, nearest neighbours."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import psutil
import pyarrow as pa

from pixelmill.jobs import inspect as inspection
from pixelmill.jobs.terminal.printable import printable
from pixelmill.pipelines import explore
from pixelmill.pipelines.export.pictures import picture_columns, rows_of_part
from pixelmill.pipelines.outputs.columns import DATA, FAILED_SCHEMA, SUCCESS
from pixelmill.pipelines.outputs.contents import failures
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError, PixelmillError
from pixelmill.workers.wording import counted

if TYPE_CHECKING:
    from PIL import Image

    from pixelmill.jobs.notebook import Shown, ShownRows

SHARE_OF_MEMORY = 0.8
"""The largest table that is read at once, as a share of the free memory."""


@dataclass(frozen=True)
class OpenedRun:
    """The results of a run so far. Every method reads the folder anew."""

    folder: Folder

    @classmethod
    def at(cls, uri: str) -> OpenedRun:
        """Open a folder. Raises JobError where it holds no run."""
        return cls(inspection.open_run(uri))

    @property
    def uri(self) -> str:
        """The output folder."""
        return self.folder.uri

    @property
    def counts(self) -> dict[str, int] | None:
        """The numbers of inputs, done and failed of a complete run; None before."""
        with explained(self.uri, "reading the output folder"):
            success = json.loads(self.folder.read(SUCCESS) or b"{}")
        return {name: success[name] for name in ("inputs", "done", "failed")} if success else None

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns; empty before the first part is published."""
        with explained(self.uri, "reading the output folder"):
            return explore.schema_of(self.folder)

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The finished rows in batches, for results that are larger than memory."""
        with explained(self.uri, "reading the output folder"):
            yield from explore.batches(self.folder, self._known(columns))

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All finished rows, or some of their columns, in memory. Raises JobError where they do not fit; see
        `batches`."""
        known = self._known(columns)
        with explained(self.uri, "reading the output folder"):
            self._require_memory(explore.memory_bytes(self.folder, known))
            return explore.table(self.folder, known)

    def pictures(self, column: str | None = None) -> Iterator[tuple[str, str, Image.Image]]:
        """Id, uri and picture of each finished row that has one, in bounded memory. JobError where there is no such column.

        A mask is a picture of class ids (mode P), a map of depth has 16 bits (I;16). `column` is needed where there are several.
        """
        from pixelmill.workers.codecs.stored import shown  # which imports torch

        chosen = self._picture_column(column)
        with explained(self.uri, "reading the output folder"):
            for part in self.folder.names(DATA):
                for row in rows_of_part(self.folder, part, [chosen]):
                    if (data := row.pictures[chosen]) is not None:
                        yield row.name.id, row.name.uri, shown(data)

    def _picture_column(self, column: str | None) -> str:
        there = picture_columns(self.schema)
        if column in there or (column is None and len(there) == 1):
            return column or there[0]
        wanted = (
            "several columns hold pictures; give column=" if column is None and there else "no such column of pictures"
        )
        raise JobError(f"{self.uri}: {wanted}; there are {', '.join(there) or 'none'}")

    def failed(self) -> pa.Table:
        """One row for each input that failed: id, uri, member, stage, error_type, error."""
        with explained(self.uri, "reading the output folder"):
            tables = [table for _, table in failures(self.folder)]
        return pa.concat_tables(tables) if tables else FAILED_SCHEMA.empty_table()

    def neighbors(self, query: str | Sequence[float], k: int = 5, *, column: str | None = None) -> pa.Table:
        """The k rows nearest to a row, given by its id or uri, or to a vector: id, uri, member, cosine; nearest first.

        Each call reads every vector once, in batches, and keeps the nearest. `column` is needed where several columns
        hold vectors. Raises JobError where there is no such row.
        """
        with explained(self.uri, "reading the output folder"):
            return explore.nearest(self.folder, self._vectors(column), query, k)

    def nearest(self, query: str | Sequence[float], k: int = 5, *, column: str | None = None) -> ShownRows:
        """As `neighbors`, shown as pictures in a notebook; `.table` has the rows."""
        from pixelmill.jobs.notebook import shown_neighbours

        found = self.neighbors(query, k, column=column)
        with explained(self.uri, "reading the output folder"):
            return shown_neighbours(self.folder, found, _environment())

    def duplicates(self, *, threshold: float = 0.97, column: str | None = None) -> ShownRows:
        """Groups of equal and nearly equal pictures, shown in a notebook; `.table` has a row for each of them, with its group,
        representative and nearness. Nothing is stored; `pixelmill duplicates` does. JobError for a run with neither vectors nor
        fingerprints.
        """
        from pixelmill.jobs.notebook import shown_duplicates
        from pixelmill.pipelines.findings.duplicates import DuplicateOptions

        with explained(self.uri, "reading the output folder"):
            return shown_duplicates(self.folder, DuplicateOptions(column, threshold), _environment())

    def map(self, *, column: str | None = None, points: int = 5_000) -> Shown:
        """The rows as points, near ones with similar vectors, each with its picture; shown in a notebook. JobError for a run
        without vectors.
        """
        from pixelmill.jobs.notebook import shown_map

        with explained(self.uri, "reading the output folder"):
            return shown_map(self.folder, column, points, _environment())

    def _known(self, columns: Sequence[str] | None) -> list[str] | None:
        if columns is None:
            return None
        there = self.schema.names
        if unknown := [name for name in columns if name not in there]:
            raise JobError(
                f"{self.uri}: has no column {', '.join(unknown)}; it has {', '.join(there) or 'no rows yet'}"
            )
        return list(columns)

    def _vectors(self, column: str | None) -> str:
        """The column that `neighbors` compares."""
        there = explore.vector_columns(self.folder)
        if column in there or (column is None and len(there) == 1):
            return column or there[0]
        wanted = (
            "several columns hold vectors; give column=" if column is None and there else "no such column of vectors"
        )
        raise JobError(f"{self.uri}: {wanted}; there are {', '.join(there) or 'none'}")

    def _require_memory(self, table_bytes: int) -> None:
        free_bytes = psutil.virtual_memory().available
        if table_bytes > SHARE_OF_MEMORY * free_bytes:
            raise JobError(
                f"{self.uri}: these rows take about {table_bytes / 1e9:.1f} GB, and {free_bytes / 1e9:.1f} GB of memory are "
                "free; name fewer columns, or go through .batches(), which reads a piece at a time"
            )

    def _state(self) -> str:
        counts = self.counts
        if counts is None:
            return "not complete: the command that made it resumes from here"
        return f"{counts['done']:,} done, {counts['failed']:,} failed of {counted(counts['inputs'], 'input')}"

    def _grid(self) -> str:
        """A few rows as pictures; what can't be shown leaves the rest of the display as it is."""
        from pixelmill.jobs.notebook import sample_grid

        try:
            return sample_grid(self.folder, _environment())
        except PixelmillError as error:
            return f"<p>{_cell(str(error))}</p>"

    def __repr__(self) -> str:
        columns = ", ".join(f"{name} {kind}" for name, kind in explore.column_types(self.folder).items())
        return printable(f"OpenedRun({self.uri!r}: {self._state()}; {columns or 'no rows'})", one_line=True)

    def _repr_html_(self) -> str:
        """For notebooks."""
        columns = explore.column_types(self.folder).items()
        rows = "".join(f"<tr><td>{_cell(name)}</td><td>{_cell(kind)}</td></tr>" for name, kind in columns)
        title = f"<b>{_cell(self.uri)}</b>: {_cell(self._state())}"
        return f"<div>{title}{self._grid()}<table><tr><th>column</th><th>type</th></tr>{rows}</table></div>"


def _environment() -> Mapping[str, str]:
    from pixelmill.jobs import surroundings

    return surroundings.of_process(quiet=True).environment


def _cell(text: str) -> str:
    return escape(printable(text, one_line=True))
