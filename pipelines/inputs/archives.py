"""Index tar shards and tables of pictures: find where the bytes of each input lie, without unpacking or reading a
picture."""

from __future__ import annotations

import tarfile
from collections import Counter
from collections.abc import Callable
from typing import IO, Any, cast

import pyarrow as pa

from pixelmill.pipelines.arrow import fields_of
from pixelmill.pipelines.inputs.earlier_runs import source_ids_of
from pixelmill.pipelines.inputs.entries import Entry, Found, Index, Source, sequential
from pixelmill.pipelines.inputs.names import IMAGE_SUFFIXES, URI_COLUMNS, has_hidden, suffix_of
from pixelmill.pipelines.stores.access import open_store
from pixelmill.pipelines.stores.patient_file import open_patiently
from pixelmill.pipelines.stores.retries import is_passing
from pixelmill.pipelines.stores.tables import holds_bytes, hu_columns, open_parquet
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import JobError

IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "picture", "bytes", "image_bytes", "content")
MOST_HEADER_BYTES = 1 << 20
"""The most bytes of headers before one member of a tar; long names and extended attributes need kilobytes."""


# Tars


KindOfOther = Callable[[str], str | None]
"""The kind of a member that is no input, by its name; None for an input."""


def kind_of_no_picture(name: str) -> str | None:
    """The kind of a file that is not a picture by its name; None for a picture."""
    return None if name.lower().endswith(IMAGE_SUFFIXES) else suffix_of(name)


def tar_members(found: Found, source: Source, other: KindOfOther = kind_of_no_picture) -> Index:
    """The inputs of a tar shard with the places of their bytes, and counts of its other members by kind. Where the source
    wants so many inputs alone, nothing is read beyond them.

    A shard that is truncated, or can't be indexed to its end, gives its whole members and one entry for itself with the
    problem.
    """
    members: list[Entry] = []
    ignored: Counter[str] = Counter()
    store, path = open_store(found.uri, source.access)
    with open_patiently(store, path, source.access, **sequential(found.uri)) as file:
        headers = _Headers(file)
        try:
            _read_headers(headers, found, source.most_members, members, ignored, other)
        except Exception as error:  # tarfile raises nearly anything for broken bytes
            if headers.fault is not None:
                raise headers.fault from error
            whole = [member for member in members if _is_whole(member, found)]
            return Index([*whole, _broken_tar(found, error, len(whole))], ignored)
    return Index(members, ignored)


class _Headers:
    """A tar file for tarfile, which reads headers only: reads are bounded, and an error of the store is kept."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._left = MOST_HEADER_BYTES
        self.fault: Exception | None = None

    def renew(self) -> None:
        """Reset the bound after a member."""
        self._left = MOST_HEADER_BYTES

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self._left:
            raise tarfile.ReadError(f"a header of more than {MOST_HEADER_BYTES:,} bytes")
        self._left -= size
        try:
            return self._file.read(size)
        except Exception as error:
            self.fault = error
            raise

    def seek(self, place: int) -> int:
        return self._file.seek(place)

    def tell(self) -> int:
        return self._file.tell()


def _read_headers(
    file: _Headers, found: Found, most: int | None, members: list[Entry], ignored: Counter[str], other: KindOfOther
) -> None:
    taken: set[str] = set()
    end = 0
    with _opened_tar(file) as tar:
        for member in tar:
            if member.size < 0:  # before the next header is looked for: it could be this one, for ever
                raise tarfile.ReadError("a size below zero")
            if kind := _kind_of_other(member, other):
                ignored[kind] += 1
            elif not member.isdir():
                members.append(_member(found, member, taken))
            if members and len(members) == most and _is_whole(members[-1], found):
                return
            end = tar.offset
            tar.members = []  # type: ignore[assignment]  # tarfile keeps every header it saw
            file.renew()
        _check_tar_end(file, end)


def _opened_tar(file: _Headers) -> tarfile.TarFile:
    return tarfile.open(fileobj=cast("IO[bytes]", file), mode="r:")


def _kind_of_other(member: tarfile.TarInfo, other: KindOfOther) -> str | None:
    """The kind of a member that is no input; None for inputs and folders."""
    if member.isdir():
        return None
    if has_hidden(member.name):
        return "hidden"
    if not member.isreg():
        return "link or device in a tar"
    return other(member.name)


def _member(found: Found, member: tarfile.TarInfo, taken: set[str]) -> Entry:
    name = member.name.encode("utf-8", "backslashreplace").decode()
    if name in taken:  # both are pictures; unpacking would keep the last one only
        name = f"{name}@{member.offset_data}"
    taken.add(name)
    if member.issparse():
        problem = "UnsupportedFormat: a sparse member, whose bytes do not lie together; pack the shard without --sparse"
        return Entry(found.uri, name, "tar", member.offset_data, None, found.version, problem)
    return Entry(found.uri, name, "tar", member.offset_data, member.size, found.version)


def _is_whole(member: Entry, found: Found) -> bool:
    return found.size is None or (member.offset or 0) + (member.size or 0) <= found.size


def _check_tar_end(file: _Headers, end: int) -> None:
    """Raises ReadError unless the archive ends with a block of zeros, or exactly: tarfile silently stops at a bad
    header."""
    file.seek(end)
    block = file.read(512)
    if block.strip(b"\0"):
        raise tarfile.ReadError("a header can't be read: truncated or corrupt")
    if end == 0 and not block:
        raise tarfile.ReadError("empty file")


def _broken_tar(found: Found, error: Exception, whole: int) -> Entry:
    if found.size == 0:
        problem = "Empty: the archive has no bytes"
    elif "unexpected end" in str(error) or "truncated or corrupt" in str(error):
        problem = f"Truncated: the archive ends early; {whole} whole pictures before that are used; copy it again"
    elif whole:
        problem = f"Corrupt: can't be indexed to its end ({error}); {whole} whole pictures before that are used"
    else:
        problem = (
            f"Corrupt: not a tar archive that can be indexed ({error}); compressed tars have to be unpacked to .tar"
        )
    return Entry(found.uri, None, "tar", None, found.size, found.version, problem)


# Tables


def parquet_rows(found: Found, source: Source) -> Index:
    """One entry per row; the footer holds their number, no picture is read."""
    store, path = open_store(found.uri, source.access)
    try:
        with open_patiently(store, path, source.access) as file:
            parquet = open_parquet(file)
            image_column(parquet.schema_arrow, source.column, found.uri)
            rows = parquet.metadata.num_rows
            source_ids = source_ids_of(file, parquet)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None or is_passing(error)):
            raise  # the store's: what pyarrow raises for a broken footer is a bare OSError
        problem = f"Corrupt: not a Parquet file ({error}); copy it again"
        return Index([Entry(found.uri, None, "parquet", None, found.size, found.version, problem)], {})
    if source_ids is None:
        return Index((Entry(found.uri, f"row {row}", "parquet", row, None, found.version) for row in range(rows)), {})
    known = enumerate(source_ids)
    return Index((Entry(found.uri, f"row {r}", "parquet", r, None, found.version, source_id=i) for r, i in known), {})


def image_column(schema: pa.Schema, column: str | None, uri: str) -> str:
    """The name of the column of pictures: bytes, or struct<bytes, path>; where there is none, of Hounsfield units. Raises
    JobError where none or several qualify."""
    candidates = [f.name for f in fields_of(schema) if holds_bytes(f.type)]
    if column in (hu := hu_columns(schema)) or (column is None and not candidates and hu):
        return column or hu[0]
    if column is not None:
        if column in candidates:
            return column
        raise JobError(
            f"{scrub(uri)}: column {column} holds no pictures; those that could: {', '.join(candidates) or 'none'}"
        )
    if not candidates:
        raise JobError(f"{scrub(uri)}: no column holds pictures; it has {_columns(schema)}; {_what_to_write(schema)}")
    structs = [f.name for f in fields_of(schema) if pa.types.is_struct(f.type) and holds_bytes(f.type)]
    named = [name for name in candidates if name.lower() in IMAGE_COLUMNS]
    for choice in (structs, named, candidates):
        if len(choice) == 1:
            return choice[0]
    raise JobError(
        f"{scrub(uri)}: which column holds the pictures? say source.column, or call it image; "
        f"binary columns: {', '.join(candidates)}"
    )


def _columns(schema: pa.Schema) -> str:
    return ", ".join(schema.names[:20]) or "none"


def _what_to_write(schema: pa.Schema) -> str:
    uris = [f.name for f in fields_of(schema) if f.name.lower() in URI_COLUMNS and pa.types.is_string(f.type)]
    if uris:
        return f"if {uris[0]} says where the pictures are, read it as a list: --set source.format=list"
    return "write them as bytes, or as struct<bytes, path>; if other tables hold them, name those with source.pattern"
