"""Compare the inputs that a manifest already has with a new listing."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pixelmill.pipelines.arrow import Column, is_valid, strings_of, texts_in
from pixelmill.pipelines.outputs.rows import read_files
from pixelmill.pipelines.outputs.seen_ids import packed_ids
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.stores.folder import Folder

_Columns = tuple[np.ndarray, np.ndarray, np.ndarray]
_NOTHING: _Columns = (np.zeros(0, "S16"), np.zeros(0, np.uint64), np.zeros(0, np.uint64))


class Known:
    """The inputs of the segments so far, sorted by id, with marks of what a new listing found; about 33 bytes a row."""

    def __init__(self, folder: Folder, segments: list[Segment]) -> None:
        self._archives: dict[str, str | None] = {}
        files = [
            self._file(table, segment)
            for segment in reversed(segments)  # the newest row of an input counts
            for table in read_files(folder, segment, ["id", "uri", "container", "version"])
        ]
        ids, versions, archives = (np.concatenate(columns) for columns in zip(_NOTHING, *files, strict=True))
        del files
        order = np.argsort(ids, kind="stable")
        ids = ids[order]
        order = order[np.concatenate([np.ones(min(1, len(ids)), bool), ids[1:] != ids[:-1]])]
        self.ids = np.unique(ids) if len(order) < len(ids) else ids
        self.versions, self._archive_of = versions[order], archives[order]
        self._seen = np.zeros(len(self.ids), bool)
        self._seen_archives: list[int] = []
        self.changed = 0
        self.sees_all = True

    def _file(self, table: pa.Table, segment: Segment) -> _Columns:
        """Ids, hashes of versions and hashes of archives of the rows of a file: no more than one file's names are in memory."""
        is_archived = is_valid(table["container"])
        if not segment.is_limited:  # such a listing may have ended within an archive, and archives are indexed again
            archived = table.filter(is_archived).group_by("uri", use_threads=False).aggregate([("version", "first")])
            for uri, version in zip(strings_of(archived["uri"]), texts_in(archived["version_first"]), strict=True):
                self._archives.setdefault(uri, version)
        archives = pc.if_else(is_archived, table["uri"], None)
        return packed_ids(table["id"]), _hashes(table["version"]), _hashes(archives)

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
        ids = packed_ids(table["id"])
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


def _hashes(versions: Column) -> np.ndarray:
    return np.array([hash_text(v) for v in texts_in(versions)], np.uint64)


def hash_text(text: str | None) -> int:
    return 0 if text is None else int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
