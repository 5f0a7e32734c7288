"""Every error of a store has a thing, a fact and a next step, and no message holds a secret."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.explain import explain, explained, row_error
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobStopped, StoreError
from tests.conftest import Reach
from tests.pipelines.stores.failing_stores import QUICK, client_error, obstore_error
from tests.servers.gateway import Gateway


def said_by(work: Callable[[], object], uri: str, doing: str = "writing to the output folder") -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011  what it is made into is what counts
        work()
    return str(explain(caught.value, uri, doing))


def test_a_missing_bucket_wrong_credentials_and_none_are_distinguished(s3: Gateway, reach: Reach) -> None:
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


def test_missing_credentials_are_reported_with_the_settings_that_give_them(gateway: Gateway, reach: Reach) -> None:
    reach({"AWS_ENDPOINT_URL": gateway.env["AWS_ENDPOINT_URL"]})
    words = said_by(lambda: Folder("s3://messages/out", QUICK).names("data"), "s3://messages/out")
    assert "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in words
    anonymous = Access(anon=True, retry_for_s=0.0)
    assert "access denied" in said_by(lambda: Folder("s3://messages/out", anonymous).names("data"), "s3://messages")


def test_a_profile_that_is_not_there_is_named() -> None:
    access = Access(profile="nobody", retry_for_s=0.0)
    words = said_by(lambda: Folder("s3://bucket/out", access).check_writable(), "s3://bucket/out")
    assert "The config profile (nobody) could not be found" in words


def test_a_store_that_does_not_answer_is_reported(reach: Reach) -> None:
    reach({"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"})
    words = said_by(lambda: Folder("s3://bucket/out", QUICK).read("x"), "s3://bucket/out")
    assert "no answer" in words
    assert words.endswith("check the network and AWS_ENDPOINT_URL")


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
        (OSError(errno.ELOOP, "x"), "NotFound"),
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


@pytest.mark.parametrize("length", range(280, 312))
def test_a_password_that_is_cut_in_two_is_not_shown(length: int) -> None:
    message = "x" * length + " https://user:hunter2@host/a.jpg"
    for said in (row_error(OSError(message), "https://host/a.jpg"), explain(OSError(message), "s3://b", "reading")):
        assert "hunter" not in str(said)


def test_errors_in_a_block_are_explained_and_ours_stay_as_they_are() -> None:
    words = r"^s3://b/in: does not exist, listing; check the name"
    with pytest.raises(StoreError, match=words) as caught, explained("s3://b/in", "listing"):
        raise FileNotFoundError("in")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    ours = JobStopped("too many fail")
    with pytest.raises(JobStopped) as kept, explained("s3://b/in", "listing"):
        raise ours
    assert kept.value is ours
