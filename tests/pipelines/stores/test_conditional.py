"""The two conditional writes: a file is created once, and replaced only as it was read, on every kind of store."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from pixelmill.pipelines.stores import conditional
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.conditional import Unfenced
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.retries import status_of
from pixelmill.pipelines.stores.s3 import S3
from tests.conftest import Reach
from tests.pipelines.stores.conditional_laws import WRITERS, assert_created_once, assert_replaced_as_read
from tests.pipelines.stores.failing_stores import Refused, Server
from tests.servers.gateway import Gateway
from tests.servers.moto import Moto


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


@pytest.mark.parametrize("status", [400, 405, 501])
def test_a_server_that_refuses_the_header_honours_no_conditions(status: int) -> None:
    assert not conditional.probe(S3(Server([status] * 3), status_of), "b/a", status_of)


@pytest.mark.parametrize(
    "answers", [[None, None], [None, 412, None]], ids=["creates again", "replaces what was not read"]
)
def test_a_server_that_honours_one_condition_of_two_honours_none(answers: list[int | None]) -> None:
    assert not conditional.probe(S3(Server(answers), status_of), "b/a", status_of)


def test_a_server_that_fails_proves_nothing_about_conditions() -> None:
    with pytest.raises(Refused, match="503"):
        conditional.probe(S3(Server([503]), status_of), "b/a", status_of)
