"""What the answers of an S3 server to a conditional write mean."""

from __future__ import annotations

import pytest

from pixelmill.pipelines.stores import folder as folder_module
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.retries import status_of
from pixelmill.pipelines.stores.s3 import S3
from tests.pipelines.stores.failing_stores import Refused, Server


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
