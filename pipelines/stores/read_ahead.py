"""Read a file of a store in few requests, each of which takes what is likely to be needed beside what is asked for.

A reader of Parquet asks for the pages of a row group's columns, the last column first, and a file that keeps the megabytes behind
the last read keeps none of what is asked for next. Here the reader says what it will ask for.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from typing import Any

AHEAD_BYTES = 8 << 20
"""The most that is fetched beyond what was asked for."""
NEAR_BYTES = 1 << 20
"""Parts that lie so near to each other are fetched with what is between them: a request takes as long as so many bytes."""
PEEK_BYTES = 1 << 13

_Part = tuple[int, bytes]
"""Bytes that are held, and where they begin in the file."""


class FileOver(io.BufferedIOBase):
    """A binary, seekable file over another one, which is closed with it."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def read1(self, size: int = -1, /) -> bytes:
        return self.read(size)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()


class ReadAheadFile(FileOver):
    """A file over one that keeps nothing itself. It reads AHEAD_BYTES ahead, until it is told what to expect."""

    def __init__(self, file: Any) -> None:
        super().__init__(file)
        self._size = int(file.seek(0, os.SEEK_END))
        self._place, self._until = 0, self._size
        self._expected = list[_Part]()
        self._last: _Part = (0, b"")

    def expect(self, parts: Iterable[tuple[int, int]], *, reads_on: bool) -> None:
        """These parts (start, stop) are read next, and nothing else, or with `reads_on` whatever follows too.

        They are fetched now, as far as AHEAD_BYTES suffice. Parts that the file does not have are left out.
        """
        within = [(start, stop) for start, stop in parts if 0 <= start < stop <= self._size]
        runs, expected, left = _runs(within), list[_Part](), AHEAD_BYTES
        self._until = self._size if reads_on else max((stop for _, stop in runs), default=0)
        for start, stop in runs:
            if stop - start <= left:
                expected.append(self._part(start, stop, max(stop, start + left) if reads_on else stop))
                left -= stop - start
        self._expected = expected

    def read(self, size: int | None = -1, /) -> bytes:
        self._file.tell()  # raises where it is closed
        left = max(0, self._size - self._place)
        end = self._place + (left if size is None or size < 0 else min(size, left))
        start, held = self._found(self._place, end) or self._next(end)
        data = held[self._place - start : end - start]
        self._place += len(data)
        return data

    def _next(self, end: int) -> _Part:
        self._last = self._part(self._place, end, max(end, min(self._place + AHEAD_BYTES, self._until)))
        return self._last

    def _part(self, start: int, end: int, stop: int) -> _Part:
        """A part that holds the bytes from `start` to `end`; where it has to be fetched, to `stop`."""
        if (found := self._found(start, end)) is not None:
            return found
        before = next(
            (part for part in (self._last, *self._expected) if part[0] <= start < part[0] + len(part[1])), None
        )
        kept = b"" if before is None else before[1][start - before[0] :]
        self._file.seek(start + len(kept))
        return start, kept + self._file.read(min(stop, self._size) - start - len(kept))

    def _found(self, start: int, end: int) -> _Part | None:
        held = (self._last, *self._expected)
        return next((part for part in held if part[0] <= start and end <= part[0] + len(part[1])), None)

    def peek(self, size: int = 0, /) -> bytes:
        """Some of the bytes that come next, none at the end; by this Python reads lines."""
        end = min(self._place + 1, self._size)
        start, held = self._found(self._place, end) or self._next(end)
        return held[self._place - start : self._place - start + max(size, PEEK_BYTES)]

    def readinto(self, buffer: Any, /) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        return self._place

    def tell(self) -> int:
        return self._place


def _runs(parts: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The parts in their order in the file, those near to each other as one, but none of more than AHEAD_BYTES with others."""
    runs = list[tuple[int, int]]()
    for start, stop in sorted(parts):
        if runs and start - runs[-1][1] <= NEAR_BYTES and max(stop, runs[-1][1]) - runs[-1][0] <= AHEAD_BYTES:
            runs[-1] = runs[-1][0], max(stop, runs[-1][1])
        else:
            runs.append((start, stop))
    return runs
