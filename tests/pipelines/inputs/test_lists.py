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


def test_a_list_of_this_machine_names_what_it_likes(tmp_path: Path) -> None:
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


def test_a_file_that_does_not_say_its_size_is_read_to_the_bound(tmp_path: Path) -> None:
    assert fetched([Entry("/proc/self/status")], max_bytes=10) == ["TooManyBytes"]
    assert b"Name" in fetched([Entry("/proc/self/status")])[0]  # type: ignore[operator]


def test_a_pipe_or_a_device_is_no_source(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for uri in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(JobError, match=r"is a pipe, a socket or a device; name a file or a folder"):
            check(Source((str(uri),)))


# --------------------------------------------------------------------------------------------------- how it is written


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_a_table_is_read_by_the_separator_that_its_header_has(tmp_path: Path, separator: str, suffix: str) -> None:
    rows = [
        ["label", "path", "note"],
        ["1", "a.jpg", '"x, y"'],
        ["2", "b,c.jpg" if separator != "," else '"b,c.jpg"', ""],
    ]
    path = write(tmp_path, f"list.{suffix}", "".join(f"{separator.join(row)}\n" for row in rows))
    assert [entry.uri for entry in listed(path)] == [f"{tmp_path}/a.jpg", f"{tmp_path}/b,c.jpg"]


def test_a_table_without_a_header_says_so(tmp_path: Path) -> None:
    path = write(tmp_path, "list.csv", "pics/a.jpg,1\npics/b.jpg,2\n")
    with pytest.raises(JobError, match=r"has no header, its first line is 'pics/a.jpg,1'; write a first line"):
        listed(path)
    with pytest.raises(JobError, match=r"which column holds the URIs.*it has label, picture"):
        listed(write(tmp_path, "list.csv", "label;picture\n1;a\n"))


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.xlsx", "a.xml"])
def test_what_is_no_list_is_refused_with_what_a_list_is(tmp_path: Path, name: str) -> None:
    with pytest.raises(JobError, match=r"a list is \.txt, \.csv, \.tsv or \.parquet"):
        check(Source((str(write(tmp_path, name, "{}")),)))


def test_a_line_without_an_end_is_refused_and_not_held(tmp_path: Path) -> None:
    for name in ("list.txt", "list.csv"):
        with pytest.raises(JobError, match=r"line 2 has more than 65,536 characters"):
            listed(write(tmp_path, name, f"uri\n{'x' * 70_000}\n"))


def test_a_broken_table_of_uris_says_so(tmp_path: Path) -> None:
    (tmp_path / "list.parquet").write_bytes(b"PAR1" * 9)
    with pytest.raises(JobError, match=r"is not a Parquet file"):
        listed(tmp_path / "list.parquet", format="list")
    with pytest.raises(JobError, match=r"is not comma-separated"):
        listed(write(tmp_path, "list.csv", 'uri\n"' + f"{'x' * 60_000}\n" * 3))
