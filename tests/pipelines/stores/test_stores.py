"""The laws of stores: passing faults are waited out, a file is there whole or not at all, no message holds a secret."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import aiohttp
import botocore.exceptions
import obstore.exceptions
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.explain import explain, row_error
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.reading import ObjectReader
from pixelmill.pipelines.stores.retries import is_passing, retried, status_of
from pixelmill.workers.credentials import carries_credentials, scrub
from pixelmill.workers.errors import RowError, StoreError
from tests.conftest import AsNobody, Reach
from tests.servers.faulty_proxy import FaultyProxy
from tests.servers.gateway import Gateway

REPOSITORY = Path(__file__).parents[3]
QUICK = Access(retry_for_s=0.0, timeout_s=5.0)
PATIENT = Access(retry_for_s=30.0, timeout_s=5.0)


class FailsAtFirst:
    """Work that raises the errors in turn, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


def client_error(status: int, code: str = "Code") -> botocore.exceptions.ClientError:
    response = {"Error": {"Code": code, "Message": "injected"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return botocore.exceptions.ClientError(response, "GetObject")  # type: ignore[arg-type]


def caused_by(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def obstore_error(status: int) -> obstore.exceptions.GenericError:
    return obstore.exceptions.GenericError(
        f"Error performing GET http://host/404 Photos/a.jpg - Server returned non-2xx status code: {status} Some Reason"
    )


PASSING = [
    TimeoutError(),
    ConnectionResetError(),
    BrokenPipeError(),
    OSError(errno.EBUSY, "SlowDown"),
    OSError(errno.ESTALE, "stale NFS handle"),
    OSError("Please reduce your request rate"),
    client_error(503),
    client_error(500),
    client_error(429),
    client_error(408),
    caused_by(OSError(errno.EINVAL, "IncompleteBody"), client_error(503)),
    obstore_error(503),
    obstore.exceptions.GenericError("HTTP error: error sending request"),
    botocore.exceptions.EndpointConnectionError(endpoint_url="http://host"),
    botocore.exceptions.ReadTimeoutError(endpoint_url="http://host"),
    aiohttp.ClientPayloadError(),
    aiohttp.ServerDisconnectedError(),
]
LASTING = [
    FileNotFoundError(errno.ENOENT, "gone"),
    PermissionError(errno.EACCES, "no"),
    IsADirectoryError(errno.EISDIR, "folder"),
    OSError(errno.ENOSPC, "full"),
    OSError(errno.EROFS, "read-only"),
    OSError("Couldn't deserialize thrift"),
    ValueError("defect"),
    client_error(403),
    client_error(404),
    client_error(507),
    caused_by(PermissionError("Access Denied"), client_error(403)),
    obstore_error(403),
    obstore_error(416),
    botocore.exceptions.NoCredentialsError(),
    botocore.exceptions.ProfileNotFound(profile="x"),
    RowError("fetch", "NotFound", "gone"),
]


# ----------------------------------------------------------------------------------------------------------- waiting


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_passing_faults_are_waited_out(error: Exception) -> None:
    work = FailsAtFirst(error, error, error)
    assert retried(work, for_s=30, first_wait_s=0.001) == "answer"
    assert work.calls == 4


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_faults_that_last_are_raised_at_once(error: Exception) -> None:
    work = FailsAtFirst(error)
    with pytest.raises(type(error)):
        retried(work, for_s=30, first_wait_s=0.001)
    assert work.calls == 1


def test_waiting_ends_when_the_time_is_over() -> None:
    work, start_s = FailsAtFirst(*[TimeoutError()] * 10_000), time.monotonic()
    with pytest.raises(TimeoutError):
        retried(work, for_s=0.3, first_wait_s=0.01)
    assert 2 < work.calls < 40
    assert time.monotonic() - start_s < 10


def test_waiting_ends_when_it_is_told_to() -> None:
    stop = threading.Event()
    timer = threading.Timer(0.1, stop.set)
    timer.start()
    with pytest.raises(StoreError, match="stopped while waiting"):
        retried(FailsAtFirst(*[TimeoutError()] * 100), for_s=60, stop=stop, first_wait_s=5)
    timer.join()


def test_a_status_is_read_from_the_answer_and_never_from_a_name() -> None:
    assert status_of(obstore_error(503)) == 503
    assert status_of(obstore.exceptions.GenericError("error for path 500 Photos/a.jpg")) is None
    assert status_of(caused_by(OSError("x"), client_error(416))) == 416
    assert status_of(OSError("500 Internal Server Error")) is None


# ---------------------------------------------------------------------------------------------------------- publish


KILL_BEFORE_RENAME = """
import os, signal, sys
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
Folder(sys.argv[1], Access()).publish("data/part-000000.parquet", b"new" * 1000)
"""


@pytest.mark.parametrize("before", [None, b"old"])
def test_a_kill_between_write_and_rename_changes_nothing_that_a_reader_sees(
    tmp_path: Path, before: bytes | None
) -> None:
    folder = Folder(str(tmp_path), QUICK)
    if before is not None:
        folder.publish("data/part-000000.parquet", before)
    ended = subprocess.run([sys.executable, "-c", KILL_BEFORE_RENAME, str(tmp_path)], cwd=REPOSITORY)
    assert ended.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "data").iterdir())) == (1 if before is None else 2)  # what was written is there
    assert folder.names("data") == ([] if before is None else ["part-000000.parquet"])
    assert [path.name for path in tmp_path.glob("data/*.parquet")] == folder.names("data")
    assert folder.read("data/part-000000.parquet") == before
    folder.publish("data/part-000000.parquet", b"new")
    assert folder.read("data/part-000000.parquet") == b"new"


def test_a_disk_that_is_full_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = Folder(str(tmp_path), QUICK)
    folder.publish("data/a", b"old")
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        folder.publish("data/a", b"new")
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "data").iterdir()] == [("a", b"old")]


@pytest.fixture(params=["local", "file", "memory", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """The same folder in each kind of store."""
    if request.param == "s3":
        gateway: Gateway = request.getfixturevalue("s3")
        name = f"stores-{time.monotonic_ns()}"
        gateway.make_bucket(name)
        return Folder(f"s3://{name}/out/", QUICK)
    place = {"local": str(tmp_path / "out"), "file": f"file://{tmp_path}/out", "memory": f"memory://{tmp_path.name}"}
    return Folder(place[request.param], QUICK)


def test_a_folder_keeps_what_is_published_under_its_name(folder: Folder) -> None:
    assert (folder.names("data"), folder.read("data/b"), folder.exists("data/b")) == ([], None, False)
    for name in ("data/b", "data/a", "data/deep/c", "data2/d"):
        folder.publish(name, name.encode())
    assert folder.names("data") == ["a", "b"]
    assert folder.names("dat") == []
    assert folder.read("data/b") == b"data/b"
    folder.publish("data/b", b"another")
    assert folder.read("data/b") == b"another"
    assert (folder.exists("data/b"), folder.exists("data/x")) == (True, False)
    with folder.open("data/b") as file:
        file.seek(2)
        assert file.read(3) == b"oth"
    folder.remove("data/b")
    assert folder.names("data") == ["a"]
    folder.check_writable()
    assert folder.names("_run") == []


# ---------------------------------------------------------------------------------------------------------- secrets

WORDS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+%._-", min_size=6, max_size=30)


@settings(deadline=None)
@given(WORDS, WORDS)
def test_no_secret_is_left_in_a_text(user: str, secret: str) -> None:
    secret = f"S3cr3t{secret}"
    texts = [
        f"https://{user}:{secret}@host/a.jpg and s3://{secret}@bucket/key",
        f"GET https://host/a.jpg?X-Amz-Credential=AKIA&X-Amz-Signature={secret}&x=1: 403",
        f"https://host/a?sv=1&sig={secret}",
        f"https://storage/a?X-Goog-Signature={secret} and X-Amz-Security-Token={secret}",
        f"password={secret} token={secret}, secret={secret}",
        f"<Error><AWSAccessKeyId>{secret}</AWSAccessKeyId></Error>",
    ]
    for text in texts:
        assert secret not in scrub(text)
        assert scrub(scrub(text)) == scrub(text)


def test_key_ids_are_scrubbed_and_plain_texts_are_not() -> None:
    assert scrub("the key AKIAABCDEFGHIJKLMNOP is wrong") == "the key *** is wrong"
    plain = "s3://bucket/a@b/photo #1.jpg: 3 of 5 failed at 12:30, see https://host/a.jpg?size=3; user@host.org"
    assert scrub(plain) == plain


@pytest.mark.parametrize(
    ("uri", "carries"),
    [
        ("s3://key:secret@bucket/photos", True),
        ("https://token@host/a.jpg", True),
        ("https://host/a.jpg?X-Amz-Signature=abc", True),
        ("https://host/a.jpg?x=1&sig=abc", True),
        ("https://host/a.jpg?SIG=abc", True),
        ("https://user:secret@[broken", True),
        ("s3://bucket/user@host/photo.jpg", False),
        ("https://host/a@b.jpg?size=3", False),
        ("/data/a@b/photo.jpg", False),
        ("http://[broken/a.jpg", False),
        ("s3://bucket/design=3/a.jpg", False),
    ],
)
def test_uris_that_carry_credentials_are_told_from_those_that_do_not(uri: str, carries: bool) -> None:
    assert carries_credentials(uri) is carries


# --------------------------------------------------------------------------------------------------------- messages


def said_by(work: Callable[[], object], uri: str, doing: str = "writing to the output folder") -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011  what it is made into is what counts
        work()
    return str(explain(caught.value, uri, doing))


def test_a_missing_bucket_wrong_credentials_and_none_are_told_apart(s3: Gateway, reach: Reach) -> None:
    s3.make_bucket("messages")

    def check() -> str:
        return said_by(lambda: Folder("s3://messages/out", QUICK).check_writable(), "s3://messages/out")

    missing = said_by(lambda: Folder("s3://missing-bucket/out", QUICK).check_writable(), "s3://missing-bucket/out")
    assert missing.startswith("s3://missing-bucket/out: does not exist, writing to the output folder; check the name")
    reach({"AWS_SECRET_ACCESS_KEY": "hunter2-is-wrong"})
    assert "access denied, writing to the output folder" in check()
    assert check().endswith("check the credentials and the bucket's policy")
    reach({"AWS_ACCESS_KEY_ID": "AKIAABCDEFGHIJKLMNOP"})
    assert "access denied" in check()
    assert "AKIA" not in check()
    assert "hunter2" not in check()
    reach({"AWS_PROFILE": "nobody"})
    assert "The config profile (nobody) could not be found; `aws configure list-profiles`" in check()


def test_no_credentials_at_all_says_what_to_set(gateway: Gateway, reach: Reach) -> None:
    reach({"AWS_ENDPOINT_URL": gateway.env["AWS_ENDPOINT_URL"]})
    words = said_by(lambda: Folder("s3://messages/out", QUICK).names("data"), "s3://messages/out")
    assert "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in words
    anonymous = Access(anon=True, retry_for_s=0.0)
    assert "access denied" in said_by(lambda: Folder("s3://messages/out", anonymous).names("data"), "s3://messages")


def test_a_profile_that_is_not_there_is_named() -> None:
    access = Access(profile="nobody", retry_for_s=0.0)
    words = said_by(lambda: Folder("s3://bucket/out", access).check_writable(), "s3://bucket/out")
    assert "The config profile (nobody) could not be found" in words


def test_a_store_that_does_not_answer_says_so(reach: Reach) -> None:
    reach({"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"})
    words = said_by(lambda: Folder("s3://bucket/out", QUICK).read("x"), "s3://bucket/out")
    assert "no answer" in words
    assert words.endswith("check the network and AWS_ENDPOINT_URL")


def test_a_local_folder_that_may_not_be_written_says_so(common_folder: Path, as_nobody: AsNobody) -> None:
    (common_folder / "out").mkdir(mode=0o755)
    with as_nobody(), pytest.raises(StoreError, match=r"out: access denied, writing .*; check its permissions$"):
        Folder(str(common_folder / "out"), QUICK).check_writable()


def test_an_output_folder_that_is_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"a file")
    for place in ("out", "out/below"):
        with pytest.raises(StoreError, match="is a file, or has one above it, writing to the output folder; choose"):
            Folder(str(tmp_path / place), QUICK).check_writable()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EROFS, "Read-only file system"), "is read-only, writing; choose another folder"),
        (OSError(errno.ENOSPC, "No space left"), "no space is left, writing; free some and run the same command again"),
        (client_error(507), "no space is left, writing"),
        (client_error(503), "no answer, writing"),
        (RuntimeError("password=hunter2 broke"), "writing failed: RuntimeError: password=*** broke"),
    ],
)
def test_every_error_of_a_store_has_a_fact_and_a_next_step(error: Exception, words: str) -> None:
    assert str(explain(error, "s3://b/out", "writing")).startswith("s3://b/out: ")
    assert words in str(explain(error, "s3://b/out", "writing"))
    ours = StoreError("already said")
    assert explain(ours, "s3://b/out", "writing") is ours


@pytest.mark.parametrize(
    ("error", "error_type"),
    [
        (FileNotFoundError("x"), "NotFound"),
        (client_error(404), "NotFound"),
        (client_error(410), "NotFound"),
        (IsADirectoryError(errno.EISDIR, "x"), "NotFound"),
        (OSError(errno.ENAMETOOLONG, "x"), "NotFound"),
        (PermissionError("x"), "PermissionDenied"),
        (client_error(403), "PermissionDenied"),
        (obstore_error(401), "PermissionDenied"),
        (obstore_error(503), "StoreUnavailable"),
        (TimeoutError(), "StoreUnavailable"),
        (ValueError("https://u:hunter2@host"), "ReadError"),
    ],
    ids=repr,
)
def test_an_error_of_one_read_becomes_a_row_with_a_reason(error: Exception, error_type: str) -> None:
    row = row_error(error, "s3://b/a.jpg")
    assert (row.stage, row.error_type) == ("fetch", error_type)
    assert "hunter2" not in str(row)
    assert row_error(row, "s3://b/a.jpg") is row


# ---------------------------------------------------------------------------------------------------------- reading

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


def test_what_is_gone_since_it_was_listed_says_so(s3: Gateway, odd_bucket: str, tmp_path: Path, web: str) -> None:
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
        body = LARGE if self.path == "/large" else b"0123456789" if status == 200 else b"<html>no</html>"
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


@pytest.mark.parametrize("length", range(280, 312))
def test_a_password_that_is_cut_in_two_is_not_shown(length: int) -> None:
    message = "x" * length + " https://user:hunter2@host/a.jpg"
    for said in (row_error(OSError(message), "https://host/a.jpg"), explain(OSError(message), "s3://b", "reading")):
        assert "hunter" not in str(said)
