"""Look at listed inputs again: a broken file may have been repaired."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa

from pixelmill.pipelines.arrow import inverted, is_valid, rows_but_of, rows_of, strings_of
from pixelmill.pipelines.inputs.entries import Found, Ignored, Source
from pixelmill.pipelines.inputs.files import found_now
from pixelmill.pipelines.inputs.manifest_rows import SCHEMA, input_id, table_of
from pixelmill.pipelines.inputs.sources import entries

FORMATS: dict[str, Any] = {"tar": "webdataset", "parquet": "parquet"}
THREADS = 16


def as_now(rows: pa.Table, source: Source) -> pa.Table:
    """The same inputs as they are now: changed objects with their new size and version, members of changed archives
    with their new place. Inputs that are gone, or of which the store says nothing, stay as they were listed. Inputs of
    several pieces are listed again, with pieces that were added since.
    """
    has_pieces = is_valid(rows["pieces"])
    single, grouped = rows.filter(inverted(has_pieces)), rows.filter(has_pieces)
    return pa.concat_tables([_singles_as_now(single, source), _grouped_as_now(grouped, source)])


def _singles_as_now(rows: pa.Table, source: Source) -> pa.Table:
    uris = list(dict.fromkeys(strings_of(rows["uri"])))
    with ThreadPoolExecutor(THREADS, "look") as pool:
        found = pool.map(partial(found_now, access=source.access), uris)
        now = {each.uri: each for each in found if each is not None}
    listed = [_plain(row, now.get(row["uri"])) for row in rows.to_pylist()]
    archives = {
        row["uri"]: row["container"] for row in listed if row["container"] and _differs(row, now.get(row["uri"]))
    }
    made = pa.Table.from_pylist(listed, SCHEMA)
    for uri, container in archives.items():
        made = _with(made, _indexed(uri, container, source, strings_of(made["id"])))
    return made


def _grouped_as_now(rows: pa.Table, source: Source) -> pa.Table:
    """List the whole source: new pieces of an input can only be found so."""
    if not rows.num_rows:
        return rows
    wanted = set(strings_of(rows["id"]))
    listed = entries(replace(source, limit=None), Ignored())
    again = [entry for entry in listed if entry.pieces and input_id(entry.uri, entry.member) in wanted]
    return _with(rows, table_of(again)) if again else rows


def _with(rows: pa.Table, again: pa.Table) -> pa.Table:
    """The rows, with those that were found again replaced."""
    return pa.concat_tables([rows_but_of(rows, strings_of(again["id"])), again])


def _differs(row: dict[str, Any], now: Found | None) -> bool:
    return now is not None and now.version is not None and row["version"] is not None and now.version != row["version"]


def _plain(row: dict[str, Any], now: Found | None) -> dict[str, Any]:
    """A row of an object that is not an archive, as the object is now."""
    if row["container"] is not None or now is None or not _differs(row, now):
        return row
    return {**row, "size": now.size, "version": now.version}


def _indexed(uri: str, container: str, source: Source, ids: list[str]) -> pa.Table:
    """The members of an archive that have one of these ids."""
    kind = source.format if source.format == "dicom" else FORMATS[container]
    archive = replace(source, uris=(uri,), format=kind, pattern=None, limit=None, exclude=None)
    members = list(entries(archive, Ignored()))
    table = table_of(members) if members else SCHEMA.empty_table()
    return rows_of(table, ids)
