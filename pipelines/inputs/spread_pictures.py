"""Read some pictures from all over a source, for what looks at a few of them: folders are often sorted by class."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from pixelmill.pipelines.inputs.entries import Ignored, Source
from pixelmill.pipelines.inputs.fetch import Fetched, Fetcher, FetchLimits, single
from pixelmill.pipelines.inputs.manifest_rows import table_of
from pixelmill.pipelines.inputs.sources import entries, nothing_found
from pixelmill.workers.errors import RowError

if TYPE_CHECKING:
    from torch import Tensor

LISTED = 10_000
"""Among so many inputs at the beginning of a source pictures are chosen: to list a store of millions would take minutes."""
_GOLDEN = (5**0.5 - 1) / 2
_LIMITS = FetchLimits(window_bytes=64 << 20)


def spread_pictures(source: Source, count: int) -> Iterator[Tensor | RowError]:
    """Pictures, uint8 CHW, evenly spread over the source and mostly in its order, until `count` of them are good.

    One that can't be read or decoded gives its error, and another is taken in its place while there are any. The same source
    gives the same pictures. Raises JobError where there is nothing, StoreError where the source can't be listed.
    """
    ignored = Ignored()
    listed = list(islice(entries(source, ignored), LISTED))
    if not listed:
        raise nothing_found(source, ignored)
    fetcher = Fetcher(source.access, _LIMITS, source.column, then=_decoded)
    left, missing = spread_order(len(listed)), count
    while missing and (chosen := sorted(islice(left, missing))):
        for found in fetcher.stream(table_of([listed[place] for place in chosen])):
            missing -= not isinstance(found, RowError)
            yield found


def spread_order(count: int) -> Iterator[int]:
    """The numbers below `count`, so ordered that the first few of them, however many, are evenly spread: multiples of the golden
    ratio leave gaps of three lengths at most."""
    return iter(sorted(range(count), key=lambda number: number * _GOLDEN % 1))


def _decoded(fetched: Fetched) -> Tensor | RowError:
    from pixelmill.workers.codecs.decode import decode_picture

    data = single(fetched)
    if isinstance(data, RowError):
        return data
    try:
        return decode_picture(data)
    except RowError as error:
        return error
