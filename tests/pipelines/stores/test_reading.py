"""Objects are read under the names that they have, whole or in ranges, and never more bytes than allowed."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.explain import row_error
from pixelmill.pipelines.stores.reading import ObjectReader
from pixelmill.pipelines.stores.retries import is_passing, retried
from pixelmill.workers.errors import RowError
from tests.conftest import Reach
from tests.pipelines.stores.failing_stores import QUICK
from tests.servers.faulty_proxy import FaultyProxy
from tests.servers.gateway import Gateway

PATIENT = Access(retry_for_s=30.0, timeout_s=5.0)

ODD_KEYS = [
    "plain/a-b_c.(1)=2,3+4@5.jpg",
    "space in/the name .jpg",
    "hash#1.jpg",
    "percent%20sign.jpg",
    "percent%2Fslash.jpg",
    "question?mark&amp.jpg",
    "caf\u00e9/\u732b \U0001f431.jpg",
    "~tilde'quote\"star*[1].jpg",
    "dots..in..name...jpg",
]


def test_every_key_is_read_as_it_is_listed(s3: Gateway, odd_bucket: str) -> None:
    reader = ObjectReader(QUICK)
    for key in ODD_KEYS:
        uri = f"s3://{odd_bucket}/{key}"
        assert reader.read(uri, max_bytes=1000) == key.encode()
        assert reader.read(uri, start=2, size=5, max_bytes=1000) == key.encode()[2:7]
        assert reader.read(uri, start=2, size=0, max_bytes=1000) == b""


@pytest.fixture(scope="module")
def odd_bucket(gateway: Gateway) -> str:
    gateway.make_bucket("odd")
    for key in ODD_KEYS:
        gateway.put("odd", key, key.encode())
    return "odd"


class _Echo(BaseHTTPRequestHandler):
    """A store in which every key holds its own name, as it was sent."""

    def do_GET(self) -> None:
        body = unquote(self.path.partition("?")[0].removeprefix("/echo/")).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
        self.send_header("ETag", '"0"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def served_by(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_key_is_sent_as_it_is_and_never_tidied(reach: Reach) -> None:
    tidied = ["a//b.jpg", "/a.jpg", "a/../b.jpg", "./a.jpg", "a/./b.jpg", "../a.jpg", "a/.."]
    with served_by(_Echo) as address:
        reach({"AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"})
        reader = ObjectReader(QUICK)
        for key in [*ODD_KEYS, *tidied]:
            assert reader.read(f"s3://echo/{key}", max_bytes=1000) == key.encode()


def test_the_credentials_of_a_named_profile_are_used(
    s3: Gateway, odd_bucket: str, reach: Reach, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [f"{name.lower()} = {s3.env[name]}" for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]
    (tmp_path / "credentials").write_text("\n".join(["[lab]", *keys]))
    reach({"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")})
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    lab = Access(profile="lab", retry_for_s=0.0)
    for key in (ODD_KEYS[0], ODD_KEYS[2]):
        assert ObjectReader(lab).read(f"s3://{odd_bucket}/{key}", max_bytes=1000) == key.encode()


def test_local_files_are_read_whole_and_in_ranges(tmp_path: Path) -> None:
    path = tmp_path / "caf\u00e9 #1%20.jpg"
    path.write_bytes(b"0123456789")
    for uri in (str(path), f"file://{path}"):
        assert ObjectReader(QUICK).read(uri, max_bytes=10) == b"0123456789"
        assert ObjectReader(QUICK).read(uri, start=3, size=4, max_bytes=10) == b"3456"
        assert ObjectReader(QUICK).read(uri, start=0, size=4, max_bytes=10) == b"0123"


def test_a_small_file_is_read_into_little_memory_under_any_limit(tmp_path: Path) -> None:
    (tmp_path / "ten.jpg").write_bytes(b"0123456789")
    tracemalloc.start()
    try:
        assert ObjectReader(QUICK).read(str(tmp_path / "ten.jpg"), max_bytes=1 << 28) == b"0123456789"
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not Path("/proc/version").is_file(), reason="Linux alone has it")
def test_a_file_that_states_no_size_is_read_whole_and_no_further_than_allowed() -> None:
    version = Path("/proc/version").read_bytes()
    assert ObjectReader(QUICK).read("/proc/version", max_bytes=len(version)) == version
    with pytest.raises(RowError, match=r"more than source\.max_bytes = 9"):
        ObjectReader(QUICK).read("/proc/version", max_bytes=9)


def test_more_than_max_bytes_is_refused_and_exactly_as_many_are_not(
    s3: Gateway, odd_bucket: str, tmp_path: Path, web: str
) -> None:
    s3.put(odd_bucket, "ten.jpg", b"0123456789")
    s3.put(odd_bucket, "ten#.jpg", b"0123456789")
    (tmp_path / "ten.jpg").write_bytes(b"0123456789")
    uris = [f"s3://{odd_bucket}/ten.jpg", f"s3://{odd_bucket}/ten#.jpg", str(tmp_path / "ten.jpg"), f"{web}/ten"]
    for uri in uris:
        assert ObjectReader(QUICK).read(uri, max_bytes=10) == b"0123456789"
        with pytest.raises(RowError, match=r"more than source\.max_bytes = 9") as error:
            ObjectReader(QUICK).read(uri, max_bytes=9)
        assert error.value.error_type == "TooManyBytes"
        with pytest.raises(RowError, match=r"more than source\.max_bytes = 3"):
            ObjectReader(QUICK).read(uri, start=0, size=4, max_bytes=3)


def test_an_object_that_is_gone_since_it_was_listed_is_reported(
    s3: Gateway, odd_bucket: str, tmp_path: Path, web: str
) -> None:
    for uri in (f"s3://{odd_bucket}/gone.jpg", f"s3://{odd_bucket}/gone#.jpg", f"{tmp_path}/gone.jpg", f"{web}/404"):
        with pytest.raises(Exception) as caught:  # noqa: PT011
            ObjectReader(QUICK).read(uri, max_bytes=10)
        assert row_error(caught.value, uri).error_type == "NotFound"
        assert not is_passing(caught.value)


def test_reads_come_through_a_store_that_fails_and_cuts(s3: Gateway, odd_bucket: str, reach: Reach) -> None:
    with FaultyProxy(s3) as proxy:
        reach(proxy.env)
        proxy.set(fail_503=0.25, cut=0.25)
        reader = ObjectReader(PATIENT)
        for key in ODD_KEYS[:4]:
            uri = f"s3://{odd_bucket}/{key}"
            read = retried(lambda uri=uri: reader.read(uri, max_bytes=1000), for_s=60, first_wait_s=0.01)
            assert read == key.encode()
        assert proxy.faults["SlowDown"] > 0
        assert proxy.faults["cut"] > 0


LARGE = bytes(range(256)) * 16384


class _Web(BaseHTTPRequestHandler):
    """/ten and /large have bytes, /flaky has none for two times of three, /NUMBER answers with that status."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        status = int(self.path[1:]) if self.path[1:].isdecimal() else 200
        status = 503 if self.path == "/flaky" and self.asked % 3 else status
        small = b"0123456789" if status == 200 else b"<html>no</html>"
        body = LARGE if self.path == "/large" else small
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    with served_by(_Web) as address:
        yield address


@pytest.mark.parametrize(
    ("path", "error_type"),
    [("404", "NotFound"), ("410", "NotFound"), ("403", "PermissionDenied"), ("503", "StoreUnavailable")],
)
def test_the_answers_of_a_web_server_become_reasons(web: str, path: str, error_type: str) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        ObjectReader(QUICK).read(f"{web}/{path}", max_bytes=10)
    assert row_error(caught.value, web).error_type == error_type


def test_a_large_file_of_a_web_server_is_read_to_its_end(web: str) -> None:
    assert ObjectReader(QUICK).read(f"{web}/large", max_bytes=1 << 30) == LARGE


def test_a_web_server_that_fails_now_and_then_is_waited_for(web: str) -> None:
    for _ in range(4):
        assert retried(lambda: ObjectReader(QUICK).read(f"{web}/flaky", max_bytes=10), for_s=30, first_wait_s=0.01)
