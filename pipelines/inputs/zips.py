"""Index zips: where the bytes of each member lie, by the central directory, without inflating anything."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import IO, Any, cast

from pixelmill.pipelines.inputs.archives import KindOfOther
from pixelmill.pipelines.inputs.entries import Entry, Found, Index, Source
from pixelmill.pipelines.inputs.names import has_hidden
from pixelmill.pipelines.stores.access import open_store, scheme_of
from pixelmill.pipelines.stores.patient_file import open_patiently

MOST_DIRECTORY_BYTES = 256 << 20
"""The most bytes that are read at once: a central directory of two million members."""
_LOCAL_BYTES, _ENCRYPTED = 30, 1


def zip_members(found: Found, source: Source, other: KindOfOther) -> Index:
    """The inputs of a zip with the places of their bytes, and counts of its other members by kind. Where the source wants so
    many inputs alone, no local header is read beyond them.

    A zip that can't be indexed gives one entry for itself with the problem; a member that is encrypted, or compressed
    otherwise than by deflate, is an entry with its problem.
    """
    ignored: Counter[str] = Counter()
    store, path = open_store(found.uri, source.access)
    with open_patiently(store, path, source.access, **_ranged(found.uri)) as opened:
        file = _Bounded(opened)
        try:
            with zipfile.ZipFile(cast("IO[bytes]", file)) as archive:
                wanted = _wanted(archive.infolist(), ignored, other)
                return Index(_entries(found, file, islice(wanted, source.most_members)), ignored)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
            if file.fault is not None:
                raise file.fault from None
            problem = f"Corrupt: not a zip that can be indexed ({type(error).__name__}); copy it again"
            return Index([Entry(found.uri, None, "zip", None, found.size, found.version, problem)], {})


class _Bounded:
    """A file for zipfile, of which no read is larger than a directory may be; an error of the store is kept."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.fault: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        if size > MOST_DIRECTORY_BYTES:
            raise zipfile.BadZipFile("a directory that is too large")
        try:
            return self._file.read(size)
        except Exception as error:
            self.fault = error
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _wanted(members: Iterable[zipfile.ZipInfo], ignored: Counter[str], other: KindOfOther) -> Iterator[zipfile.ZipInfo]:
    for member in members:
        if member.is_dir():
            continue
        if kind := "hidden" if has_hidden(member.filename) else other(member.filename):
            ignored[kind] += 1
        else:
            yield member


def _entries(found: Found, file: _Bounded, members: Iterable[zipfile.ZipInfo]) -> list[Entry]:
    """Entries of members, after their local headers, each of which is a request."""
    entries: list[Entry] = []
    taken: set[str] = set()
    for member in members:
        name = member.filename if member.filename not in taken else f"{member.filename}@{member.header_offset}"
        taken.add(name)
        entries.append(_member(found, file, member, name))
    return entries


def _member(found: Found, file: _Bounded, member: zipfile.ZipInfo, name: str) -> Entry:
    if (problem := _problem(member)) is not None:
        return Entry(found.uri, name, "zip", None, member.compress_size, found.version, problem)
    file.seek(member.header_offset)
    local = file.read(_LOCAL_BYTES)
    if len(local) < _LOCAL_BYTES or local[:4] != b"PK\3\4":
        problem = "Corrupt: its local header in the zip is not where the directory says; copy the zip again"
        return Entry(found.uri, name, "zip", None, member.compress_size, found.version, problem)
    names = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
    container = "zip" if member.compress_type == zipfile.ZIP_STORED else "deflate"
    offset = member.header_offset + _LOCAL_BYTES + names
    return Entry(found.uri, name, container, offset, member.compress_size, found.version)


def _problem(member: zipfile.ZipInfo) -> str | None:
    if member.flag_bits & _ENCRYPTED:
        return "Encrypted: the member is encrypted; unpack the zip with its password, and index the folder"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return (
            f"UnsupportedFormat: compressed by method {member.compress_type}; pack the zip with deflate, or unpack it"
        )
    return None


def _ranged(uri: str) -> dict[str, Any]:
    """How to open a file of which a few ranges are read: a store would read megabytes around each."""
    return {} if scheme_of(uri) in {"file", "local"} else {"cache_type": "none"}
