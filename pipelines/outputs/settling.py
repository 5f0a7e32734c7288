"""Remove from failed/ what a later part has redone."""

from __future__ import annotations

import pyarrow as pa

from pixelmill.pipelines.arrow import rows_but_of
from pixelmill.pipelines.outputs.columns import FAILED, FAILED_SCHEMA
from pixelmill.pipelines.outputs.contents import old_retried_ids, progress
from pixelmill.pipelines.outputs.encoding import encode
from pixelmill.pipelines.outputs.owners import Owners
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import open_parquet, read_rows


def settle(folder: Folder, segments: list[Segment]) -> int:
    """Remove the rows of failed/ whose inputs a later part has redone, and return how many they are."""
    held = progress(folder)
    owners, old = Owners(folder, segments, held), frozenset(old_retried_ids(folder, held))
    parts = {f"{part.name}.parquet": part for part in owners.parts}
    settled = 0
    for name in sorted(held.failed & parts.keys()):
        redone = owners.redone_after(parts[name]) | old
        settled += _drop(folder, f"{FAILED}/{name}", redone) if redone else 0
    return settled


def _drop(folder: Folder, name: str, ids: frozenset[str]) -> int:
    """Replace a file of failed/ by one without these rows; another attempt may do so at the same time."""
    while (found := folder.read_tagged(name)) is not None:
        table = read_rows(open_parquet(pa.BufferReader(found[0])), FAILED_SCHEMA.names).cast(FAILED_SCHEMA)
        kept = rows_but_of(table, ids)
        dropped = table.num_rows - kept.num_rows
        if not dropped or folder.replace(name, encode(kept), found[1]):
            return dropped
    return 0
