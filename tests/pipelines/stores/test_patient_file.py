"""A file of a store is read to its end though the store refuses, and where it stays away the error is its own."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from pixelmill.pipelines.stores.access import Access, open_store
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.patient_file import open_patiently
from pixelmill.pipelines.stores.tables import open_parquet, read_rows
from tests.conftest import Reach
from tests.servers.faulty_proxy import FaultyProxy
from tests.servers.gateway import Gateway

PATIENT = Access(retry_for_s=60.0, timeout_s=5.0)
CONTENT = b"first line\nsecond line\n" + bytes(range(256)) * 100


@pytest.fixture
def proxy(gateway: Gateway, reach: Reach) -> Iterator[FaultyProxy]:
    with FaultyProxy(gateway) as proxy:
        reach(proxy.env)
        yield proxy


def test_a_table_is_read_from_a_store_that_refuses_more_tries_than_its_client_makes(
    gateway: Gateway, proxy: FaultyProxy
) -> None:
    gateway.make_bucket("refused")
    written = io.BytesIO()
    pq.write_table(pa.table({"id": list(range(1000))}), written)
    gateway.put("refused", "data/part.parquet", written.getvalue())
    proxy.set(refuse_first=4)  # s3fs gives up after three refusals of a HEAD, whose answers have no text
    with Folder("s3://refused", PATIENT).open("data/part.parquet") as file, open_parquet(file) as parquet:
        assert read_rows(parquet)["id"].to_pylist() == list(range(1000))
    assert proxy.requests["HEAD", "refused/data/part.parquet"] == 5


class Failing:
    """A file that fails each of its reads `times` times, in the middle: its position has moved by then."""

    size = len(CONTENT)

    def __init__(self, error: Exception, times: int) -> None:
        self._file, self._error, self._times, self._left = io.BytesIO(CONTENT), error, times, times

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._file, name)
        return self._failing(found) if name in {"read", "readinto", "readline"} else found

    def _failing(self, read: Callable[..., Any]) -> Callable[..., Any]:
        def failing(*arguments: Any) -> Any:
            if self._left:
                self._left -= 1
                self._file.seek(7, io.SEEK_CUR)
                raise self._error
            self._left = self._times
            return read(*arguments)

        return failing


class Store:
    def __init__(self, file: Any) -> None:
        self._file = file

    def open(self, path: str, mode: str, **options: Any) -> Any:
        return self._file


def opened(error: Exception, *, times: int = 1, for_s: float = 30.0) -> Any:
    return open_patiently(Store(Failing(error, times)), "a", Access(retry_for_s=for_s))


def test_every_way_to_read_goes_on_where_it_was() -> None:
    file = opened(ConnectionError("cut"))
    assert file.readline() == b"first line\n"
    assert file.tell() == 11
    assert file.read(6) == b"second"
    buffer = bytearray(6)
    assert file.readinto(buffer) == 6
    assert bytes(buffer) == b" line\n"
    assert file.read1(4) == CONTENT[23:27]
    file.seek(-10, io.SEEK_END)
    assert file.read() == CONTENT[-10:]
    file.seek(0)
    assert next(iter(file)) == b"first line\n"
    file.seek(0)
    assert io.TextIOWrapper(file, "latin-1").readline() == "first line\n"


def test_an_error_that_stays_is_the_store_s_own() -> None:
    with pytest.raises(ConnectionError, match="cut"):
        opened(ConnectionError("cut"), times=1000, for_s=0.3).read(5)
    with pytest.raises(FileNotFoundError, match="gone"):
        opened(FileNotFoundError("gone")).read(5)


def test_closing_closes_the_file_below() -> None:
    failing = Failing(ConnectionError(), 0)
    with open_patiently(Store(failing), "a", PATIENT) as file:
        assert file.readable()
        assert file.seekable()
    assert failing.closed
    assert file.closed
    with pytest.raises(ValueError, match="closed"):
        file.read()


def test_a_stream_in_which_nobody_can_go_back_and_a_local_file_are_given_as_they_are(tmp_path: Path) -> None:
    stream = Failing(ConnectionError(), 0)
    stream.size = None  # type: ignore[assignment]  # as fsspec says it of a server without ranges
    assert open_patiently(Store(stream), "a", PATIENT) is stream
    (tmp_path / "a").write_bytes(CONTENT)
    store, path = open_store(str(tmp_path / "a"), PATIENT)
    assert isinstance(store, LocalFileSystem)
    with open_patiently(store, path, PATIENT) as file:
        assert type(file).__module__.startswith("fsspec")
        assert file.read() == CONTENT


def test_options_reach_the_store() -> None:
    store = MemoryFileSystem()
    store.pipe_file("/patient", CONTENT)
    with open_patiently(store, "/patient", PATIENT, block_size=1 << 20) as file:
        assert file.read() == CONTENT
    with pytest.raises(FileNotFoundError):
        open_patiently(store, "/nowhere", PATIENT)
