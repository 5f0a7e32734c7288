"""Stores that fail as a test asks: errors as the clients raise them, and an S3 server that answers by script."""

from __future__ import annotations

from typing import Any

import botocore.exceptions
import fsspec.asyn
import obstore.exceptions

from pixelmill.pipelines.stores.access import Access

QUICK = Access(retry_for_s=0.0, timeout_s=5.0)


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


class Server:
    """An S3 server whose answers to writes a test decides; s3fs calls it so."""

    def __init__(self, answers: list[int | None], *, lands: bool = False, there: bytes | None = None) -> None:
        self.answers, self.lands, self.there = answers, lands, there
        self.puts = 0
        self.loop = fsspec.asyn.get_loop()

    def call_s3(self, method: str, **options: Any) -> dict[str, Any]:
        if method == "get_object":
            if self.there is None:
                raise FileNotFoundError(options["Key"])
            return {"Body": Body(self.there), "ETag": '"tag"', "ContentLength": len(self.there)}
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


class Body:
    """The content of an answer, as aiobotocore gives it: read once, on the loop of the file system."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self) -> bytes:
        return self._data

    def close(self) -> None:
        pass
