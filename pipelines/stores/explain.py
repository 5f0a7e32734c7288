"""Explain errors of stores to a person: the thing, the fact and the next step, for one row or a whole run."""

from __future__ import annotations

import errno
from collections.abc import Generator
from contextlib import contextmanager

from pixelmill.pipelines.stores.access import scheme_of
from pixelmill.pipelines.stores.retries import is_passing, status_of
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import PixelmillError, RowError, StoreError, StoreUnavailable


def row_error(error: Exception, uri: str) -> RowError:
    """The error of one read as a row to file: what happened and what a person can do."""
    if isinstance(error, RowError):
        return error
    name = type(error).__name__
    if isinstance(error, FileNotFoundError) or status_of(error) in {404, 410} or name == "NotFoundError":
        return RowError("fetch", "NotFound", "gone since it was listed: deleted, moved or renamed")
    if (
        isinstance(error, PermissionError)
        or status_of(error) in {401, 403}
        or name in {"PermissionDeniedError", "UnauthenticatedError"}
    ):
        return RowError("fetch", "PermissionDenied", f"may not be read; check {_what_grants(uri)}")
    if isinstance(error, IsADirectoryError):
        return RowError("fetch", "NotFound", "is a folder, not a file")
    if isinstance(error, OSError) and error.errno == errno.ELOOP:
        return RowError("fetch", "NotFound", "is a link that leads back to itself")
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return RowError("fetch", "NotFound", "the name is longer than this file system allows")
    detail = f"{name}: {_first_line(error) or 'no detail'}"
    if is_passing(error):
        return RowError(
            "fetch",
            "StoreUnavailable",
            f"the store gave no good answer in time ({detail}); `pixelmill retry` tries again",
        )
    return RowError("fetch", "ReadError", f"could not be read ({detail})")


def _first_line(error: Exception) -> str:
    """The first line, scrubbed before it is cut: half of an address no longer shows that it holds a password."""
    return scrub(str(error)).partition("\n")[0][:300]


def explain(error: Exception, uri: str, doing: str) -> StoreError:
    """An error of a whole store in the user's words: the thing, the fact and the next step."""
    if isinstance(error, StoreError):
        return error
    name, status = type(error).__name__, status_of(error)
    text = _first_line(error) or name
    if "Profile" in name:
        return StoreError(f"{uri}: {text}; `aws configure list-profiles` shows the profiles that there are")
    if "Credential" in name or "Token" in name:
        return StoreError(
            f"{uri}: no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile in the "
            "job file (profile: NAME), or say that none are needed (anon: true)"
        )
    if isinstance(error, FileNotFoundError) or status == 404:
        return StoreError(f"{uri}: does not exist, {doing}; check the name of the bucket or folder")
    if isinstance(error, PermissionError) or status in {401, 403}:
        return StoreError(f"{uri}: access denied, {doing} ({text}); check {_what_grants(uri)}")
    if isinstance(error, FileExistsError | NotADirectoryError):
        return StoreError(f"{uri}: is a file, or has one above it, {doing}; choose another folder")
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        return StoreError(f"{uri}: is read-only, {doing}; choose another folder")
    if (
        (isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT})
        or status == 507
        or "StorageFull" in text
    ):
        return StoreError(f"{uri}: no space is left, {doing}; free some and run the same command again")
    if is_passing(error):
        return StoreUnavailable(f"{uri}: no answer, {doing} ({text}); check the network and AWS_ENDPOINT_URL")
    return StoreError(f"{uri}: {doing} failed: {name}: {text}")


def _what_grants(uri: str) -> str:
    return "its permissions" if scheme_of(uri) == "file" else "the credentials and the bucket's policy"


@contextmanager
def explained(uri: str, doing: str) -> Generator[None]:
    """Within the block, raise errors of a store as StoreError in the user's words, and our own errors unchanged."""
    try:
        yield
    except PixelmillError:
        raise
    except Exception as error:
        raise explain(error, uri, doing) from error
