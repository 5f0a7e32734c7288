"""Read the content of an output folder: its parts, their rows, their failures, and how they were made."""

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
    """The content of an output folder, by the names of its files."""

    data: frozenset[str]
    failed: frozenset[str]

    def is_done(self, part: Part) -> bool:
        return f"{part.name}.parquet" in self.data

    @property
    def old_retries(self) -> list[str]:
        """Files of retries by versions in which a retry had no parts of its own."""
        return sorted(name for name in self.data if name.startswith("part-r"))


def progress(folder: Folder) -> Contents:
    return Contents(frozenset(folder.names(DATA)), frozenset(folder.names(FAILED)))


@dataclass(frozen=True)
class Facts:
    """The facts in the metadata of a part's data file."""

    done: int
    """The number of inputs whose rows it holds."""
    failures: pa.Table | None
    """None in files of versions that did not keep them there."""
    bytes: int


def facts_of(folder: Folder, name: str) -> Facts:
    """Read the facts of a part's data file."""
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
    """How a data file was made, as JSON in its metadata; older versions wrote fewer keys."""

    listing: str
    """The attempt that listed its inputs."""
    attempt: int
    weights: dict[str, str | None]
    """The digest of the weights by stage."""
    settings: dict[str, dict[str, object]]
    """The settings of the network by stage."""
    milled: Milled


def provenance_of(folder: Folder, name: str) -> Provenance:
    """How a data file was made; empty when it does not say."""
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
