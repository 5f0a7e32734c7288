"""Read the first pictures of a source, in its order, for what looks at a few of them."""

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

AT_ONCE = 64
_LIMITS = FetchLimits(window_bytes=64 << 20)


def first_pictures(source: Source) -> Iterator[Tensor | RowError]:
    """The pictures, uint8 CHW, in the order of the source; one that can't be read or decoded gives its error in its place.

    More is listed and read as more is taken. Raises JobError where there is nothing, StoreError where the source can't be listed.
    """
    ignored, is_empty = Ignored(), True
    listed = entries(source, ignored)
    fetcher = Fetcher(source.access, _LIMITS, source.column, then=_decoded)
    while batch := list(islice(listed, AT_ONCE)):
        is_empty = False
        yield from fetcher.stream(table_of(batch))
    if is_empty:
        raise nothing_found(source, ignored)


def _decoded(fetched: Fetched) -> Tensor | RowError:
    from pixelmill.workers.codecs.decode import decode_picture

    data = single(fetched)
    if isinstance(data, RowError):
        return data
    try:
        return decode_picture(data)
    except RowError as error:
        return error
