"""Conditional writes on an S3 server that honours If-None-Match and If-Match."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from pixelmill.pipelines.stores.whole_files import read_s3

PRECONDITION_FAILED, CONFLICT = 412, 409


class S3:
    """An S3 server that honours conditions; `status_of` gives the HTTP status behind an error."""

    is_fenced = True

    def __init__(self, store: Any, status_of: Callable[[BaseException], int | None]) -> None:
        self._store, self._status_of = store, status_of

    def read(self, path: str, most_bytes: int = sys.maxsize) -> tuple[bytes, str] | None:
        try:
            return read_s3(self._store, path, most_bytes)
        except FileNotFoundError:
            return None

    def tag(self, path: str) -> str | None:
        bucket, _, key = path.partition("/")
        try:
            return self._store.call_s3("head_object", Bucket=bucket, Key=key)["ETag"]
        except FileNotFoundError:
            return None

    def create(self, path: str, data: bytes) -> bool:
        return self._put(path, data, IfNoneMatch="*")

    def replace(self, path: str, data: bytes, tag: str) -> bool:
        return self._put(path, data, IfMatch=tag)

    def _put(self, path: str, data: bytes, **condition: str) -> bool:
        bucket, _, key = path.partition("/")
        try:
            self._store.call_s3("put_object", Bucket=bucket, Key=key, Body=data, **condition)
        except Exception as error:
            status = self._status_of(error)
            if status == PRECONDITION_FAILED or (status == 404 and "IfMatch" in condition):
                # A put that timed out may have landed, and then its own retry is refused.
                found = self.read(path)
                return found is not None and found[0] == data
            if status == CONFLICT:
                # Not raised from the error: its status would make the retry look useless.
                raise ConnectionError("the store is at work on another write of this file") from None
            raise
        return True
