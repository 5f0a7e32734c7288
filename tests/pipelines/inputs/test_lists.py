"""The laws of lists: every row becomes an entry, and a list from elsewhere names nothing of this machine."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pixelmill.pipelines.inputs.fetch import Fetcher, FetchLimits, single
from pixelmill.pipelines.inputs.manifest_rows import table_of
from pixelmill.pipelines.inputs.sources import Entry, Ignored, Source, check, entries
from pixelmill.pipelines.stores.access import Access
from pixelmill.workers.errors import JobError, RowError

ACCESS = Access(retry_for_s=0.0)


def listed(*uris: str | Path, **options: Any) -> list[Entry]:
    return list(entries(Source(tuple(map(str, uris)), access=ACCESS, **options), Ignored()))


def fetched(found: list[Entry], max_bytes: int = 1 << 20) -> list[bytes | str]:
    stream = Fetcher(ACCESS, FetchLimits(in_flight=2, max_bytes=max_bytes), None, then=single)
    return [data.error_type if isinstance(data, RowError) else data for data in stream.stream(table_of(found))]


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


# ----------------------------------------------------------------------------------------------- whose files it names


@pytest.mark.parametrize(
    "uri",
    ["/etc/hostname", "file:///etc/hostname", "file://localhost/etc/hostname", "local:///etc/hostname",
     "simplecache::file:///etc/hostname", "//etc/hostname", "zip:///etc/a.zip", "memory2://x/a.jpg"],
)  # fmt: skip
def test_a_list_in_a_store_names_no_file_of_this_machine(uri: str) -> None:
    memory: Any = fsspec.filesystem("memory")
    memory.pipe_file("/lists/list.txt", f"a.jpg\n{uri}\ns3://other/b.jpg\nhttps://host/c.jpg\n".encode())
    try:
        near, foreign, bucket, web = listed("memory:///lists/list.txt")
    finally:
        MemoryFileSystem.store.clear()
    assert (near.uri, bucket.uri, web.uri) == ("memory:///lists/a.jpg", "s3://other/b.jpg", "https://host/c.jpg")
    assert (foreign.uri, foreign.member) == ("memory:///lists/list.txt", "line 2")
    assert str(foreign.problem).startswith("ForeignUri: a list in a store may not name")
    assert fetched([foreign]) == ["ForeignUri"]


def test_a_local_list_may_name_any_place(tmp_path: Path) -> None:
    (tmp_path / "a b.jpg").write_bytes(b"x")
    quoted = f"{tmp_path}/a%20b.jpg"
    path = write(tmp_path, "list.txt", f"a b.jpg\nfile://{quoted}\nfile://localhost{quoted}\n{tmp_path}/a b.jpg\n")
    assert fetched(listed(path)) == [b"x"] * 4
    assert {entry.uri for entry in listed(path)} == {f"{tmp_path}/a b.jpg"}


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "a.jpg").write_bytes(b"x")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.jpg"))
        path = write(tmp_path, "list.txt", "pipe.jpg\n/dev/zero\ns.jpg\n.\na.jpg\n/dev/null\n")
        assert fetched(listed(path)) == ["NotAFile", "NotAFile", "NotAFile", "NotFound", b"x", "NotAFile"]


def test_a_file_of_unknown_size_is_read_to_the_bound(tmp_path: Path) -> None:
    assert fetched([Entry("/proc/self/status")], max_bytes=10) == ["TooManyBytes"]
    assert b"Name" in fetched([Entry("/proc/self/status")])[0]  # type: ignore[operator]


def test_a_pipe_or_a_device_is_no_source(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for uri in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(JobError, match=r"is a pipe, a socket or a device; name a file or a folder"):
            check(Source((str(uri),)))


# ------------------------------------------------------------------------------------------------------- what is a list


@pytest.mark.parametrize("name", ["a.json", "a.ndjson", "a.xlsx", "a.xml"])
def test_a_file_that_is_no_list_is_refused_with_the_formats_of_lists(tmp_path: Path, name: str) -> None:
    with pytest.raises(JobError, match=r"a list is \.txt, .*\.csv, .* or \."):
        check(Source((str(write(tmp_path, name, "{}")),)))


def test_a_list_that_is_not_utf8_is_refused_with_the_formats_of_lists(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"caf\xe9.jpg\n")
    with pytest.raises(JobError, match=r"is not UTF-8 text .*a list of URIs is \.txt"):
        listed(tmp_path / "list.txt")


def test_an_entry_without_a_uri_is_a_failed_row(tmp_path: Path) -> None:
    found = listed(write(tmp_path, "list.csv", "uri,label\na.jpg,1\n,2\n"))
    assert [entry.problem is None for entry in found] == [True, False]
    assert (found[1].member, str(found[1].problem)) == ("line 2", "NullUri: the list has no URI here")
