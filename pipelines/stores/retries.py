"""Decide which errors of a store are transient, and retry the work until they are over."""

from __future__ import annotations

import errno
import random
import re
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from pixelmill.workers.errors import RowError, StoreError

Result = TypeVar("Result")


def retried(
    work: Callable[[], Result],
    *,
    for_s: float,
    stop: threading.Event | None = None,
    first_wait_s: float = 0.2,
) -> Result:
    """Retry the work until it succeeds, fails for good, or `for_s` seconds of transient errors are over. Waits double
    from `first_wait_s` up to 10 s; each is drawn between half and all of it, so that workers don't retry in step.
    """
    deadline, wait_s = time.monotonic() + for_s, first_wait_s
    while True:
        try:
            return work()
        except Exception as error:
            pause_s = wait_s * random.uniform(0.5, 1.0)
            if not is_passing(error) or time.monotonic() + pause_s > deadline:
                raise
        if stop is not None and stop.wait(pause_s):
            raise StoreError("stopped while waiting for a store")
        if stop is None:
            time.sleep(pause_s)
        wait_s = min(2 * wait_s, 10.0)


def is_passing(error: BaseException) -> bool:
    """Whether the same request may succeed later: no answer, a cut connection, a server error, a request to slow
    down."""
    status = status_of(error)
    if status is not None:
        return status in {408, 425, 429} or (status >= 500 and status != 507)  # a full store needs a person
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError | RowError):
        return False
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    module, name = type(error).__module__.partition(".")[0], type(error).__name__
    if module == "obstore":
        return name in {"GenericError", "BaseError", "JoinError"}
    if module in {"aiohttp", "botocore", "aiobotocore", "urllib3", "gcsfs", "azure"}:
        return not any(
            word in name for word in ("Credential", "Profile", "Param", "InvalidURL", "ClientError", "Token")
        )
    if isinstance(error, OSError):
        return error.errno in {errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ESTALE, errno.ETIMEDOUT, errno.EIO} or (
            error.errno is None
            and any(word in str(error) for word in ("SlowDown", "reduce your request", "503", "500"))
        )
    return False


def status_of(error: BaseException) -> int | None:
    """The HTTP status behind an error; None where there is none."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return cast("dict[str, Any]", response).get("ResponseMetadata", {}).get("HTTPStatusCode")
    status = getattr(error, "status", None)
    if isinstance(status, int) and status >= 400:
        return status
    if error.__cause__ is not None and error.__cause__ is not error:
        return status_of(error.__cause__)
    if not type(error).__module__.startswith("obstore"):
        return None
    found = re.search(r"\bstatus code: ([45]\d\d)\b", str(error))
    return int(found[1]) if found else None
