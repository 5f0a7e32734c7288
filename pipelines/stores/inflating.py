"""Read deflated members of zips: ranges of an object that are inflated as far as they are needed, and never without a bound."""

from __future__ import annotations

import zlib

from pixelmill.workers.errors import RowError

MARK = "deflate+"
"""Before the uri of an object of which a range is deflated."""
LEAST_BOUND_BYTES = 64 << 20
MOST_RATIO = 20
"""A member may inflate to the larger of these two: CT slices shrink to a third, and bombs to a thousandth."""


def is_deflated(uri: str) -> bool:
    return uri.startswith(MARK)


def marked(uri: str) -> str:
    """The name of an object of which a range is deflated."""
    return f"{MARK}{uri}"


def plain(uri: str) -> str:
    """The object that a marked name means."""
    return uri.removeprefix(MARK)


def inflated(data: bytes, max_bytes: int) -> bytes:
    """All that a whole member holds. Raises RowError where it is broken, or more than it may be."""
    most = min(max_bytes, max(LEAST_BOUND_BYTES, MOST_RATIO * len(data)))
    head, is_whole = inflated_head(data, most)
    if not is_whole:
        raise _broken() if len(head) < most else _too_large(most)
    return head


def inflated_head(data: bytes, most_bytes: int) -> tuple[bytes, bool]:
    """The first bytes that the beginning of a member holds, at most so many, and whether these are all."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        head = stream.decompress(data, most_bytes)
        if not stream.eof and len(head) == most_bytes:  # the end of the stream may still have to be read
            return head, not stream.decompress(stream.unconsumed_tail, 1) and stream.eof
    except zlib.error:
        raise _broken() from None
    return head, stream.eof


def _broken() -> RowError:
    return RowError("fetch", "Corrupt", "its deflated bytes in the zip are broken or cut off; copy the zip again")


def _too_large(most_bytes: int) -> RowError:
    return RowError(
        "fetch", "TooLarge", f"inflates to more than {most_bytes:,} bytes, which no CT slice does; leave it out"
    )
