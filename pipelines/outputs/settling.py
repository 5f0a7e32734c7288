"""Take what later parts have done once more out of the files of failed/ where it was filed."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from pixelmill.pipelines.outputs.columns import FAILED, FAILED_SCHEMA
from pixelmill.pipelines.outputs.contents import old_retried_ids, progress
from pixelmill.pipelines.outputs.encoding import encode
from pixelmill.pipelines.outputs.owners import Owners
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import open_parquet


def settle(folder: Folder, segments: list[Segment]) -> int:
    """Take what later parts have done once more out of the files of failed/ where it was filed. Returns how many rows."""
    held = progress(folder)
    owners, old = Owners(folder, segments, held), frozenset(old_retried_ids(folder, held))
    parts = {f"{part.name}.parquet": part for part in owners.parts}
    settled = 0
    for name in sorted(held.failed & parts.keys()):
        redone = owners.redone_after(parts[name]) | old
        settled += _drop(folder, f"{FAILED}/{name}", redone) if redone else 0
    return settled


def _drop(folder: Folder, name: str, ids: frozenset[str]) -> int:
    """Replace a file of failed/ by the same without these rows; another attempt may be doing so too."""
    while (found := folder.read_tagged(name)) is not None:
        table = open_parquet(pa.BufferReader(found[0])).read(FAILED_SCHEMA.names, use_threads=False).cast(FAILED_SCHEMA)
        leave = pc.is_in(table["id"], pa.array(sorted(ids), pa.string()))
        dropped = leave.to_pylist().count(True)
        if not dropped or folder.replace(name, encode(table.filter(pc.invert(leave))), found[1]):
            return dropped
    return 0
