"""Compare the inputs that a manifest already has with a new listing."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pixelmill.pipelines.arrow import Column, is_valid, strings_of, texts_in
from pixelmill.pipelines.inputs.manifest_rows import SCHEMA
from pixelmill.pipelines.outputs.rows import read_files
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.stores.folder import Folder


class Known:
    """The inputs of the segments so far, sorted by id, with marks of what a new listing found."""

    def __init__(self, folder: Folder, segments: list[Segment]) -> None:
        columns = ["id", "uri", "container", "version"]
        tables = [
            table.append_column("is_limited", pa.repeat(segment.is_limited, table.num_rows))
            for segment in reversed(segments)  # the newest row of an input counts
            for table in read_files(folder, segment, columns)
        ]
        rows = (
            pa.concat_tables(tables)
            if tables
            else SCHEMA.empty_table().append_column("is_limited", pa.array([], pa.bool_()))
        )
        ids = _binary(rows["id"])
        self.ids, order = np.unique(ids, return_index=True)
        self.versions = _hashes(rows["version"])[order]
        is_archived = is_valid(rows["container"])
        # A listing with a limit may have ended within an archive: such archives are indexed again.
        indexed = pc.and_not(is_archived, rows["is_limited"])
        archived = rows.filter(indexed).group_by("uri", use_threads=False).aggregate([("version", "first")])
        self._archives = dict(zip(archived["uri"].to_pylist(), archived["version_first"].to_pylist(), strict=True))
        self._archive_of = _hashes(pc.if_else(is_archived, rows["uri"], None))[order]
        self._seen = np.zeros(len(self.ids), bool)
        self._seen_archives: list[int] = []
        self.changed = 0
        self.sees_all = True

    def is_indexed(self, uri: str, version: str | None) -> bool:
        """Whether an archive was indexed before; it is not read again."""
        if uri not in self._archives:
            return False
        self._seen_archives.append(hash_text(uri))
        self.changed += version != self._archives[uri]
        return True

    def fresh(self, table: pa.Table) -> pa.Table:
        """The rows that were never listed before; the others are marked as present."""
        if not len(self.ids):
            return table
        ids = _binary(table["id"])
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        known: npt.NDArray[np.bool_] = self.ids[places] == ids
        self._seen[places[known]] = True
        self.changed += int((self.versions[places[known]] != _hashes(table["version"])[known]).sum())
        return table.filter(pa.array(~known))

    @property
    def removed(self) -> int:
        """The number of earlier inputs that this listing did not find; 0 for a listing with a limit, which does not see
        all."""
        if not self.sees_all:
            return 0
        in_seen_archive = np.isin(self._archive_of, np.array(self._seen_archives, np.uint64))
        return int((~(self._seen | in_seen_archive)).sum())


def _binary(ids: Column) -> np.ndarray:
    return np.frombuffer("".join(strings_of(ids)).encode("ascii"), "S32")


def _hashes(versions: Column) -> np.ndarray:
    return np.array([hash_text(v) for v in texts_in(versions)], np.uint64)


def hash_text(text: str | None) -> int:
    return 0 if text is None else int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
