"""How to reach a store: scheme, file system and named profile, none of which holds a secret."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import fsspec  # pyright: ignore[reportMissingTypeStubs]

from pixelmill.workers.errors import StoreError


@dataclass(frozen=True)
class Access:
    """How to reach a store. Holds no secret: secrets come from the environment or the named profile."""

    profile: str | None = None
    anon: bool = False
    timeout_s: float = 30.0
    retry_for_s: float = 120.0


def scheme_of(uri: str) -> str:
    """The protocol of a URI; "file" for a plain path."""
    scheme, separator, _ = uri.partition("://")
    return scheme if separator else "file"


def join(folder: str, *names: str) -> str:
    """A URI below a folder."""
    return "/".join([folder.rstrip("/"), *names])


@cache
def filesystem(scheme: str, access: Access) -> Any:
    """The fsspec file system of a scheme. Raises StoreError when its package is missing. Typed Any, since fsspec's
    annotations do not tell bytes from text.
    """
    options: dict[str, Any] = {"use_listings_cache": False}
    if scheme in {"s3", "s3a"}:
        options |= {"profile": access.profile, "anon": access.anon, "config_kwargs": _botocore_timeouts(access)}
    elif scheme in {"http", "https"}:
        import aiohttp

        options |= {"client_kwargs": {"timeout": aiohttp.ClientTimeout(total=access.timeout_s)}}
    elif scheme in {"file", "local", "memory"}:
        options = {}
    try:
        return fsspec.filesystem(scheme, **options)  # pyright: ignore[reportUnknownMemberType]
    except (ImportError, ValueError) as error:
        raise StoreError(f"{scheme}://: {error}") from error


def _botocore_timeouts(access: Access) -> dict[str, Any]:
    # when_required: stores that are not AWS refuse the trailing checksums that botocore would add (HTTP 411).
    return {
        "connect_timeout": min(5.0, access.timeout_s),
        "read_timeout": access.timeout_s,
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
        "retries": {"max_attempts": 2, "mode": "standard"},
    }


def open_store(uri: str, access: Access) -> tuple[Any, str]:
    """The file system of a URI and its path in it."""
    store = filesystem(scheme_of(uri), access)
    return store, str(store._strip_protocol(uri))
