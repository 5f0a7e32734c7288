"""Read as much of the beginning of an object as its reader needs: a terabyte is not downloaded to be listed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.inflating import inflated_head, is_deflated, plain
from pixelmill.pipelines.stores.reading import Expect, ObjectReader


class IsEnough(Protocol):
    """Whether the beginning of an object is all that is needed of it."""

    def __call__(self, head: bytes, *, is_whole: bool) -> bool: ...


@dataclass(frozen=True)
class Heads:
    """How much is read at first, if that is not enough then, ..., and in the end all; sizes in bytes, growing."""

    sizes: tuple[int, ...]
    is_enough: IsEnough


class HeadReader(ObjectReader):
    """Reads the beginning of objects, or of ranges of them, in as few bytes as `heads` are satisfied with."""

    def __init__(self, access: Access, heads: Heads) -> None:
        super().__init__(access)
        self._heads = heads

    def read(
        self,
        uri: str,
        *,
        start: int | None = None,
        size: int | None = None,
        max_bytes: int,
        expect: Expect = lambda _: None,
        version: str | None = None,
    ) -> bytes:
        """The beginning of an object, or of `size` bytes from `start`; errors as of `ObjectReader`."""
        for head_bytes in self._heads.sizes:
            asked = head_bytes if size is None else min(size, head_bytes)
            expect(asked)
            head = super().read(plain(uri), start=start or 0, size=asked, max_bytes=asked, version=version)
            is_whole = asked == size or len(head) < asked
            if is_deflated(uri):
                head, is_whole = inflated_head(head, head_bytes)
            if is_whole or self._heads.is_enough(head, is_whole=False):
                return head
        return super().read(uri, start=start, size=size, max_bytes=max_bytes, expect=expect, version=version)
