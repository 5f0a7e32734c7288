"""Publish the rows of one part: the data file that commits it, then its failures."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from pixelmill.pipelines.arrow import inverted, is_valid
from pixelmill.pipelines.inputs.earlier_runs import METADATA_KEY
from pixelmill.pipelines.outputs.columns import DATA, ERROR_COLUMNS, FAILED, FAILED_SCHEMA, FAILURES_KEY, PLACE
from pixelmill.pipelines.outputs.contents import facts_of
from pixelmill.pipelines.outputs.encoding import Compression, encode
from pixelmill.pipelines.outputs.features import picture_features
from pixelmill.pipelines.outputs.wholeness import inputs_in
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import write_parquet
from pixelmill.workers.errors import PixelmillError


@dataclass(frozen=True)
class Written:
    """The numbers of done and failed inputs of a part, whichever attempt wrote it, and its bytes."""

    done: int
    failed: int
    bytes: int


def publish(
    folder: Folder, name: str, table: pa.Table, provenance: Mapping[str, object], compression: Compression
) -> Written:
    """Publish the rows of one part: the data file that commits it, then its failures. Returns what the part holds. An
    existing part stays unchanged. Raises PixelmillError, and writes nothing, where an input is not whole: its rows must
    have the places from 0 on, and none may have failed.
    """
    has_failed = is_valid(table["error_type"])
    failures = table.filter(has_failed).select(FAILED_SCHEMA.names).cast(FAILED_SCHEMA)
    kept = table.filter(inverted(has_failed)) if failures.num_rows else table  # a filter copies every picture
    data = kept.drop_columns(list(ERROR_COLUMNS))
    done = _whole_inputs(name, data, failures)
    facts = {METADATA_KEY: json.dumps(provenance, sort_keys=True).encode(), FAILURES_KEY: packed(failures)}
    facts |= picture_features(data.schema)
    encoded = encode(data.replace_schema_metadata(facts), compression)
    stale = folder.read_tagged(
        f"{FAILED}/{name}.parquet"
    )  # read before the part exists, so that no attempt has settled it
    if not folder.create(f"{DATA}/{name}.parquet", encoded):
        there = facts_of(folder, name)
        _file(folder, name, there.failures, compression)
        return Written(there.done, 0 if there.failures is None else there.failures.num_rows, there.bytes)
    _file(folder, name, failures, compression, stale and stale[1])
    return Written(done, failures.num_rows, len(encoded))


def _whole_inputs(name: str, data: pa.Table, failures: pa.Table) -> int:
    """The number of inputs of a part's data rows."""
    if PLACE.name not in data.column_names:
        return data.num_rows
    found, failed = inputs_in(data), inputs_in(failures)
    if bad := found.incomplete | found.twice | failed.twice | (found.ids & failed.ids):
        raise PixelmillError(
            f"{name}: the rows of input {min(bad)} are not its places from 0 on, each once and none of them failed; "
            "this is a fault of its decoder or of pixelmill: report it"
        )
    return len(found.ids)


def _file(
    folder: Folder, name: str, failures: pa.Table | None, compression: Compression, stale: str | None = None
) -> None:
    """Write the failures of a part whose data file exists. `stale` is the tag of a file that existed before the data
    file: from versions that wrote it first, or from a part whose data file was removed by hand.
    """
    file = f"{FAILED}/{name}.parquet"
    if failures is not None and stale is not None:
        folder.replace(file, encode(failures, compression), stale)
    elif failures is not None and failures.num_rows:
        folder.create(file, encode(failures, compression))


def packed(failures: pa.Table) -> bytes:
    """A table as text, for the metadata of a Parquet file."""
    return base64.b85encode(write_parquet(failures, compression="zstd"))
