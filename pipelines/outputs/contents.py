"""Read what an output folder holds: which parts are there, their rows, what failed in them and how they were made."""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypedDict

import pyarrow as pa

from pixelmill.pipelines.arrow import integers_in, strings_of
from pixelmill.pipelines.inputs.earlier_runs import METADATA_KEY
from pixelmill.pipelines.outputs.columns import DATA, FAILED, FAILED_SCHEMA, FAILURES_KEY, PLACE
from pixelmill.pipelines.outputs.parts import Part
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import Parquet, open_parquet, read_rows
from pixelmill.workers.errors import StoreError


@dataclass(frozen=True)
class Contents:
    """What an output folder holds, by the names of its files."""

    data: frozenset[str]
    failed: frozenset[str]

    def is_done(self, part: Part) -> bool:
        return f"{part.name}.parquet" in self.data

    @property
    def old_retries(self) -> list[str]:
        """Rows that retries finished before they had parts of their own."""
        return sorted(name for name in self.data if name.startswith("part-r"))


def progress(folder: Folder) -> Contents:
    return Contents(frozenset(folder.names(DATA)), frozenset(folder.names(FAILED)))


@dataclass(frozen=True)
class Facts:
    """What a part's data file says of itself."""

    done: int
    """How many inputs it holds the rows of."""
    failures: pa.Table | None
    """None where it was written before they were kept there."""
    bytes: int


def facts_of(folder: Folder, name: str) -> Facts:
    """What the data file of a part says of itself."""
    with _whole(folder, f"{DATA}/{name}.parquet"), folder.open(f"{DATA}/{name}.parquet") as file:
        parquet = open_parquet(file)
        packed = (parquet.schema_arrow.metadata or {}).get(FAILURES_KEY)
        done = _inputs_in(parquet)
        return Facts(done, None if packed is None else _unpacked(packed), file.seek(0, os.SEEK_END))


def _inputs_in(parquet: Parquet) -> int:
    if PLACE.name not in parquet.schema_arrow.names:
        return parquet.metadata.num_rows
    return integers_in(read_rows(parquet, [PLACE.name])[PLACE.name]).count(0)


class Milled(TypedDict):
    """When and where the rows of a part were made."""

    started_s: float
    ended_s: float
    host: str


class Provenance(TypedDict, total=False):
    """What a data file says of its own making, as JSON in its metadata; not every version wrote all of it."""

    listing: str
    """The attempt whose listing its inputs are of."""
    attempt: int
    weights: dict[str, str | None]
    """By stage, the digest of the weights."""
    settings: dict[str, dict[str, object]]
    """By stage, the settings with which its network ran."""
    milled: Milled


def provenance_of(folder: Folder, name: str) -> Provenance:
    """What a data file says of its own making; empty when it says nothing."""
    with folder.open(f"{DATA}/{name}") as file:
        metadata = open_parquet(file).metadata.metadata or {}
    return json.loads(metadata.get(METADATA_KEY, b"{}"))


def read_columns(folder: Folder, name: str, columns: list[str]) -> pa.Table:
    with (
        _whole(folder, name),
        folder.open(name) as file,
        open_parquet(file) as parquet,
    ):  # read_table would import pyarrow.dataset first
        return read_rows(parquet, columns)


@contextmanager
def _whole(folder: Folder, name: str) -> Generator[None]:
    try:
        yield
    except pa.ArrowInvalid as error:
        raise StoreError(
            f"{folder.uri}/{name}: is not a whole Parquet file ({error}); remove it and run the same command again"
        ) from error


def _unpacked(text: bytes) -> pa.Table:
    table = read_rows(open_parquet(pa.BufferReader(base64.b85decode(text))))
    return table.select(FAILED_SCHEMA.names).cast(FAILED_SCHEMA)


def old_retried_ids(folder: Folder, held: Contents) -> Counter[str]:
    retried: Counter[str] = Counter()
    for name in held.old_retries:
        retried.update(strings_of(read_columns(folder, f"{DATA}/{name}", ["id"])["id"]))
    return retried


def failures(folder: Folder) -> Iterator[tuple[str, pa.Table]]:
    """Every file of failed/ with its rows."""
    for name in folder.names(FAILED):
        yield name, read_columns(folder, f"{FAILED}/{name}", FAILED_SCHEMA.names)
