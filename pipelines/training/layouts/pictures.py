"""Any source of pictures: folder, glob, tar shards, Parquet; a column `label` of integers is used where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

import numpy as np
import pyarrow as pa

from pixelmill.pipelines.arrow import Column, strings_of, type_of
from pixelmill.pipelines.inputs.manifest_rows import SCHEMA, table_of
from pixelmill.pipelines.inputs.sources import Ignored, Source, entries
from pixelmill.pipelines.stores.access import Access, open_store
from pixelmill.pipelines.stores.explain import explain
from pixelmill.pipelines.stores.patient_file import open_patiently
from pixelmill.pipelines.stores.tables import Parquet, integers_of, open_parquet
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.reading import LABEL
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import DataError, PixelmillError
from pixelmill.workers.recipes import Role


class Pictures:
    """Pictures, one or several per file."""

    ROLES: ClassVar[tuple[Role, ...]] = (Role("image", "picture"), Role("label", "class", is_needed=False))

    def is_here(self, uris: Sequence[str], access: Access) -> bool:
        return True

    def find(self, uris: Sequence[str], access: Access, classes: Sequence[str] | None) -> DataSet:
        return find_pictures(uris, access, is_labelled=False)


def find_pictures(uris: Sequence[str], access: Access, *, is_labelled: bool) -> DataSet:
    ignored = Ignored()
    table = listed(Source(tuple(uris), access=access), ignored)
    if table.num_rows == 0:
        raise DataError(f"{', '.join(map(scrub, uris))}: no pictures are there; give a folder, a glob, tars or Parquet")
    labels = labels_of(table, access, is_needed=is_labelled)
    return DataSet({"image": table}, access, labels=labels, ignored=ignored.by_suffix)


def listed(source: Source, ignored: Ignored) -> pa.Table:
    try:
        found = sorted(entries(source, ignored), key=lambda entry: (entry.uri, entry.offset or 0))
    except PixelmillError:
        raise
    except Exception as error:
        raise explain(error, ", ".join(source.uris), "listing the data") from error
    broken = next((entry for entry in found if entry.problem), None)
    if broken is not None:
        raise DataError(f"{scrub(broken.uri)}: {broken.problem}")
    return table_of(found) if found else SCHEMA.empty_table()


def labels_of(table: pa.Table, access: Access, *, is_needed: bool) -> np.ndarray | None:
    """The column `label` of the tables, where all have one with integers. Raises DataError where labels are needed."""
    if set(table["container"].to_pylist()) != {"parquet"}:
        return None
    columns: list[np.ndarray] = []
    for uri in dict.fromkeys(strings_of(table["uri"])):
        store, path = open_store(uri, access)
        with open_patiently(store, path, access) as file, open_parquet(file) as parquet:
            if LABEL not in parquet.schema_arrow.names:
                return None
            column = _label_column(parquet)
        if isinstance(column, str):
            if is_needed:
                raise DataError(f"{scrub(uri)}: {column}; write each row's class as an integer from 0 on")
            return None
        columns.append(column)
    return np.concatenate(columns).astype(np.int64)


def _label_column(parquet: Parquet) -> np.ndarray | str:
    """The labels of a table, or why they can't be read."""
    kind = type_of(parquet.schema_arrow, LABEL)
    if not pa.types.is_integer(kind):
        return f"column {LABEL} holds {kind}, not integers"
    column = integers_of(parquet, LABEL)
    return _problem(column) or column.to_numpy()


def _problem(column: Column) -> str | None:
    """Why labels can't be read from a column."""
    values = cast("Sequence[int | None]", column.to_pylist() if column.null_count else column.to_numpy())
    bad = next((row for row, value in enumerate(values) if value is None or value < 0), None)
    return None if bad is None else f"row {bad} of column {LABEL} is {'null' if values[bad] is None else values[bad]}"
