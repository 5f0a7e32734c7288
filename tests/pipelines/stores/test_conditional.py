"""The two conditional writes: a file is created once, and replaced only as it was read, on every kind of store."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pixelmill.pipelines.stores import conditional, s3
from pixelmill.pipelines.stores import folder as folder_module
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.conditional import ConditionalWrites, Unfenced
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.retries import status_of
from pixelmill.pipelines.stores.s3 import S3
from tests.conftest import Reach
from tests.servers.gateway import Gateway
from tests.servers.moto import Moto

WRITERS = 8


def assert_created_once(writes: ConditionalWrites, path: str) -> None:
    assert writes.read(path) is None
    assert writes.create(path, b"first")
    assert not writes.create(path, b"second")
    assert (writes.read(path) or (b"", ""))[0] == b"first"


def assert_replaced_as_read(writes: ConditionalWrites, path: str) -> None:
    writes.create(path, b"one")
    _, tag = writes.read(path) or (b"", "")
    assert writes.replace(path, b"two", tag)
    assert not writes.replace(path, b"three", tag)
    assert (writes.read(path) or (b"", ""))[0] == b"two"
    assert not writes.replace(f"{path}-gone", b"two", tag)
    assert writes.read(f"{path}-gone") is None


# --------------------------------------------------------------------------------------------------------------- S3


def s3_folder(server: Gateway, reach: Reach) -> Folder:
    """A folder in a bucket of its own, as a run sees it once it has looked what the server can do."""
    bucket = f"conditional-{uuid.uuid4().hex[:8]}"
    reach(server.env)
    server.make_bucket(bucket)
    folder = Folder(f"s3://{bucket}/out", Access(retry_for_s=0.0))
    folder.check_writable()
    return folder


def test_a_server_that_ignores_conditions_is_found_out_and_looked_at_before_each_write(
    gateway: Gateway, reach: Reach
) -> None:
    folder = s3_folder(gateway, reach)
    assert not folder.is_fenced
    assert isinstance(folder._writes, Unfenced)
    assert_created_once(folder._writes, f"{folder.path}/data/a")
    assert_replaced_as_read(folder._writes, f"{folder.path}/data/b")
    assert not [name for name in folder.names("_run") if "probe" in name]


def test_a_server_that_honours_conditions_refuses_by_itself(moto: Moto, reach: Reach) -> None:
    folder = s3_folder(moto, reach)
    assert folder.is_fenced
    assert isinstance(folder._writes, S3)
    assert_created_once(folder._writes, f"{folder.path}/data/a")
    assert_replaced_as_read(folder._writes, f"{folder.path}/data/b")
    assert folder._listed("_run", "file") == []  # the probe leaves nothing


def test_of_many_that_create_an_object_at_once_one_does(moto: Moto, reach: Reach) -> None:
    folder = s3_folder(moto, reach)
    contents = [str(number).encode() for number in range(WRITERS)]
    with ThreadPoolExecutor(WRITERS) as pool:
        created = list(pool.map(lambda data: folder.create("data/a", data), contents))
    assert created.count(True) == 1
    assert folder.read("data/a") == contents[created.index(True)]


def test_a_folder_in_a_worker_is_fenced_because_the_driver_found_it_so(moto: Moto, reach: Reach) -> None:
    driver = s3_folder(moto, reach)
    assert not Folder(driver.uri, driver.access).is_fenced
    worker = Folder(driver.uri, driver.access, is_fenced=driver.is_fenced)
    assert worker.create("data/a", b"mine")
    assert not driver.create("data/a", b"another's")


class Server:
    """An S3 server whose answers to writes a test decides; s3fs calls it so."""

    def __init__(self, answers: list[int | None], *, lands: bool = False, there: bytes | None = None) -> None:
        self.answers, self.lands, self.there = answers, lands, there
        self.puts = 0

    def call_s3(self, method: str, **options: Any) -> dict[str, Any]:
        if method == "get_object":
            if self.there is None:
                raise FileNotFoundError(options["Key"])
            return {"Body": self.there, "ETag": '"tag"'}
        self.puts += 1
        status = self.answers.pop(0)
        if status is None or self.lands:
            self.there = options["Body"]
        if status is not None:
            raise Refused(status)
        return {}


class Refused(Exception):
    """As botocore reports an answer."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}}


@pytest.fixture(autouse=True)
def plain_bodies(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "moto" not in request.fixturenames:
        monkeypatch.setattr(s3, "_body", lambda store, answer: answer["Body"])


def test_a_412_after_a_write_of_ones_own_that_landed_is_a_success() -> None:
    """The answer to the first put was lost, and what it wrote refuses the second."""
    landed = Server([412], there=b"mine")
    assert S3(landed, status_of).create("b/a", b"mine")
    assert S3(Server([412], there=b"mine"), status_of).replace("b/a", b"mine", '"tag"')
    assert not S3(Server([412], there=b"another's"), status_of).create("b/a", b"mine")
    assert not S3(Server([412]), status_of).create("b/a", b"mine")
    assert landed.puts == 1


def test_an_object_that_is_gone_is_not_replaced() -> None:
    assert not S3(Server([404]), status_of).replace("b/a", b"mine", '"tag"')
    with pytest.raises(Refused, match="404"):  # the bucket is gone, which is no answer to a condition
        S3(Server([404]), status_of).create("b/a", b"mine")


def test_a_409_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "open_store", lambda uri, access: (server, "bucket/out"))
    server = Server([409, 409, None])
    folder = Folder("s3://bucket/out", Access(retry_for_s=30.0), is_fenced=True)
    assert folder.create("a", b"mine")
    assert (server.puts, server.there) == (3, b"mine")
    server = Server([409] * 99)
    with pytest.raises(ConnectionError, match="another write of this file"):
        Folder("s3://bucket/out", Access(retry_for_s=0.0), is_fenced=True).create("a", b"mine")


@pytest.mark.parametrize("status", [400, 405, 501])
def test_a_server_that_refuses_the_header_honours_no_conditions(status: int) -> None:
    assert not conditional.probe(S3(Server([status] * 3), status_of), "b/a", status_of)


@pytest.mark.parametrize(
    "answers", [[None, None], [None, 412, None]], ids=["creates again", "replaces what was not read"]
)
def test_a_server_that_honours_one_condition_of_two_honours_none(answers: list[int | None]) -> None:
    assert not conditional.probe(S3(Server(answers), status_of), "b/a", status_of)


def test_a_server_that_fails_says_nothing_of_conditions() -> None:
    with pytest.raises(Refused, match="503"):
        conditional.probe(S3(Server([503]), status_of), "b/a", status_of)
