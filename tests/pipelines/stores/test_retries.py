"""Passing faults are waited out, those that last are raised at once, and a status is read from the answer alone."""

from __future__ import annotations

import errno
import threading
import time

import aiohttp
import botocore.exceptions
import obstore.exceptions
import pytest

from pixelmill.pipelines.stores.retries import retried, status_of
from pixelmill.workers.errors import RowError, StoreError
from tests.pipelines.stores.failing_stores import caused_by, client_error, obstore_error


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


def test_waiting_ends_when_it_is_stopped() -> None:
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
