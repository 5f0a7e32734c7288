"""Reports of the workers to their driver, kept in Ray's internal key-value store until the run is over.

An actor would need one more process, which delays every start on a small machine. A lost report loses no row and no
step: no result depends on reports.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from ray.experimental import internal_kv

STORE: Any = cast("Any", internal_kv)
"""Ray has no public name for it. `Any`, since its functions are typed as if no key were ever missing."""


class ProgressStore:
    """Texts by key, of one run; plain data, so that it travels to every worker."""

    def __init__(self, run: str | None = None) -> None:
        self.run = run or uuid.uuid4().hex
        self._prefix = f"pixelmill:{self.run}:"

    def report(self, key: str, text: str) -> None:
        """Replace the report under this key. Never raises, since a missing display must not end the work."""
        with suppress(Exception):
            self.put(key, text)

    def reporter(self, kind: str) -> Callable[[str], None]:
        """A function with which one worker reports under its own key below `kind`, see `report`."""
        key = f"{kind}:{uuid.uuid4().hex}"
        return lambda text: self.report(key, text)

    def reports(self, kind: str) -> list[str]:
        """The last report of each worker under this kind."""
        found = [self.get(key) for key in self.keys(f"{kind}:")]
        return [text for text in found if text is not None]

    def add(self, key: str, value: str) -> bool:
        """Add a value under a new key; False where the key exists."""
        return not STORE._internal_kv_put(self._key(key), value.encode(), overwrite=False)

    def get(self, key: str) -> str | None:
        found: bytes | None = STORE._internal_kv_get(self._key(key))
        return None if found is None else found.decode()

    def put(self, key: str, value: str) -> None:
        STORE._internal_kv_put(self._key(key), value.encode(), overwrite=True)

    def remove(self, key: str) -> None:
        STORE._internal_kv_del(self._key(key))

    def keys(self, prefix: str) -> list[str]:
        """The keys with this prefix."""
        found: list[bytes] = STORE._internal_kv_list(self._key(prefix))
        return [key.decode().removeprefix(self._prefix) for key in found]

    def clear(self) -> None:
        """Remove all keys of this run."""
        STORE._internal_kv_del(self._prefix.encode(), del_by_prefix=True)

    def _key(self, key: str) -> bytes:
        return f"{self._prefix}{key}".encode()
