"""The broken samples of a training: skipped, recorded in OUT/failed/, and limited in number.

The place of a broken sample in the order is taken by the next good one. That follows from the data alone, so that a training
sees the same batches however many workers it has, whether it streams, and after it is resumed.
"""

from __future__ import annotations

import json
from collections import Counter

import pyarrow as pa

from pixelmill.pipelines.inputs.manifest_rows import input_id
from pixelmill.pipelines.outputs.columns import FAILED, FAILED_SCHEMA
from pixelmill.pipelines.progress import ProgressStore
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import open_parquet, read_rows, write_parquet
from pixelmill.pipelines.stores.whole_files import MOST_TABLE_BYTES
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.workers.errors import DataError, RowError

MAX_FAILED_FRACTION = 0.05
FEWEST_SAMPLES = 100
"""Of a smaller data set so many times the fraction may fail: one of ten is a tenth."""
LEFT_OUT = "LeftOut"
"""The error of a sample that a recipe leaves out on purpose, such as a slice of air: recorded, and not counted as broken."""
FILE = f"{FAILED}/part-000000.parquet"

_Row = dict[str, str | None]
"""A row of failed/."""


class BrokenSamples:
    """The broken samples of one data set that this process has met, by index."""

    def __init__(self, data: DataSet, max_fraction: float = MAX_FAILED_FRACTION) -> None:
        self._data, self._max_fraction = data, max_fraction
        self.errors: dict[int, RowError] = {}

    def __len__(self) -> int:
        return len(self.errors)

    @property
    def indices(self) -> list[int]:
        return sorted(self.errors)

    def add(self, index: int, error: RowError) -> None:
        """Raises DataError, with the most common reasons, where more are broken than may be."""
        self.errors.setdefault(index, error)
        samples = len(self._data)
        if len(self) == samples:
            raise DataError(f"all {samples:,} samples are broken:\n{self.reasons()}")
        self.require_few(sum(each.error_type != LEFT_OUT for each in self.errors.values()))

    def require_few(self, failed: int) -> None:
        """Raises DataError where more of these samples have failed, on all workers together, than may."""
        samples = len(self._data)
        if failed > self._max_fraction * max(samples, FEWEST_SAMPLES):
            raise DataError(
                f"{failed:,} of {samples:,} samples are broken, more than run.max_failed_fraction = "
                f"{self._max_fraction:g}:\n{self.reasons()}\ncorrect the cause and run the same command again, or raise "
                "the fraction"
            )

    def rows(self) -> list[_Row]:
        """The rows of failed/, in the order of the data."""
        first = self._data.first
        found: list[_Row] = []
        for index in self.indices:
            error, uri, member = self.errors[index], first["uri"][index].as_py(), first["member"][index].as_py()
            row = {"id": input_id(uri, member), "uri": uri, "member": member}
            found.append(row | {"stage": error.stage, "error_type": error.error_type, "error": str(error)})
        return found

    def reasons(self) -> str:
        """The three commonest reasons, a line each, with how many and one example."""
        kinds = Counter((error.stage, error.error_type) for error in self.errors.values())
        examples = {(error.stage, error.error_type): str(error) for error in reversed(self.errors.values())}
        lines = [
            f"  {count:,} {stage}/{kind}, as {examples[stage, kind]}" for (stage, kind), count in kinds.most_common(3)
        ]
        return "\n".join(lines)


class FailedFile:
    """OUT/failed/part-000000.parquet of a training: one row per broken sample that any worker has met, in this attempt or
    an earlier one. The first worker writes it; the others report to it.
    """

    def __init__(self, folder: Folder, store: ProgressStore, rank: int, workers: int) -> None:
        self._folder, self._store, self._rank, self._workers = folder, store, rank, workers
        self._reported = 0
        self._rows: dict[str, _Row] | None = None
        self._trained: set[str] = set()

    def record(self, trained: BrokenSamples, *judged: BrokenSamples) -> int:
        """Record what was met since the last call; returns how many the first worker knows. On the first worker, raises
        DataError where more of the samples to train on are broken, on all workers together, than may be."""
        count = len(trained) + sum(map(len, judged))
        if self._rank and count == self._reported:
            return 0
        mine = {"trained": trained.rows(), "judged": [row for each in judged for row in each.rows()]}
        if self._rank:
            self._store.report(f"{FAILED}:{self._rank}", json.dumps(mine))
            self._reported = count
            return 0
        if self._rows is None:
            self._rows = {str(row["id"]): row for row in self._kept()}
        of_all = [mine, *map(json.loads, self._others())]
        met = [row for each in of_all for rows in each.values() for row in rows]
        self._trained |= {str(row["id"]) for each in of_all for row in each["trained"] if row["error_type"] != LEFT_OUT}
        new = {str(row["id"]): row for row in met if row["id"] not in self._rows}
        if new:
            self._rows |= new
            ordered = sorted(self._rows.values(), key=lambda row: (row["uri"] or "", row["member"] or ""))
            self._folder.publish(FILE, write_parquet(pa.Table.from_pylist(ordered, FAILED_SCHEMA)))
        trained.require_few(len(self._trained))
        return len(self._rows)

    def _others(self) -> list[str]:
        return self._store.reports(FAILED) if self._workers > 1 else []

    def _kept(self) -> list[_Row]:
        data = self._folder.read(FILE, MOST_TABLE_BYTES)
        if data is None:
            return []
        return read_rows(open_parquet(pa.BufferReader(data)), FAILED_SCHEMA.names).cast(FAILED_SCHEMA).to_pylist()
