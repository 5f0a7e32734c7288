"""What was found out about a run, as one Parquet file: OUT/explore/NAME/rows.parquet.

The file is replaced in one step and says in its metadata what was asked and which parts of the run it covers, so that a
reader never sees half of a result, and knows when the run has grown since.

The metadata key `pixelmill_explore` holds JSON: kind, options, summary, made_at, covers (parts, rows, digest of names).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict, cast

import pyarrow as pa

from pixelmill.pipelines import explore
from pixelmill.pipelines.outputs.columns import DATA
from pixelmill.pipelines.outputs.encoding import encode
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import open_parquet, read_rows
from pixelmill.workers.errors import JobError

EXPLORE, ROWS = "explore", "rows.parquet"
FACTS_KEY = b"pixelmill_explore"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Covers(TypedDict):
    """The finished rows of a run at one moment."""

    parts: int
    rows: int
    digest: str


class Facts(TypedDict):
    """What a result says of itself."""

    kind: str
    options: dict[str, object]
    summary: dict[str, object]
    made_at: str
    covers: Covers


@dataclass(frozen=True)
class Found:
    """A result that was stored: its rows, and what it says of itself."""

    rows: pa.Table
    facts: Facts
    is_stale: bool
    """Whether the run has got or lost rows since."""


@dataclass(frozen=True)
class Made:
    """A result that is not stored yet."""

    rows: pa.Table
    summary: dict[str, object]


def covers_of(folder: Folder) -> Covers:
    """What a result covers that is made of the folder now."""
    names = folder.names(DATA)
    return {"parts": len(names), "rows": explore.count_rows(folder), "digest": _digest_of(names)}


def _digest_of(parts: list[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def folder_for(run: Folder, name: str) -> Folder:
    """The folder of a result. Raises JobError for a name that is no plain file name."""
    if not _NAME.fullmatch(name):
        raise JobError(f"--name {name!a}: is no plain name; give letters, digits, - and _, as in clusters-of-may")
    return Folder(f"{run.uri}/{EXPLORE}/{name}", run.access, is_fenced=run.is_fenced)


def store(folder: Folder, publish: Callable[[str, bytes], None], made: Made, facts: Facts) -> None:
    """Publish a result under `folder`, in one step."""
    metadata = {FACTS_KEY: json.dumps(facts, sort_keys=True).encode()}
    publish(ROWS, encode(made.rows.replace_schema_metadata(metadata)))


def read(run: Folder, name: str) -> Found | None:
    """A stored result; None where there is none of this name."""
    folder = folder_for(run, name)
    if not folder.exists(ROWS):
        return None
    with folder.open(ROWS) as file, open_parquet(file) as parquet:
        text = (parquet.metadata.metadata or {}).get(FACTS_KEY)
        if text is None:
            raise JobError(f"{folder.uri}/{ROWS}: was not written by pixelmill; remove it, and make the result again")
        facts = cast("Facts", json.loads(text))
        rows = read_rows(parquet)
    return Found(rows.replace_schema_metadata(None), facts, facts["covers"]["digest"] != _digest_of(run.names(DATA)))


def names(run: Folder) -> list[str]:
    """The names of the stored results of a run."""
    return [name for name in run.folders(EXPLORE) if run.exists(f"{EXPLORE}/{name}/{ROWS}")]


def keyed(keys: pa.Table, columns: Mapping[str, Any]) -> pa.Table:
    """The keys of rows with columns beside them."""
    table = keys
    for name, values in columns.items():
        array = cast("Any", values if isinstance(values, pa.Array) else pa.array(values))
        table = table.append_column(name, array)
    return table
