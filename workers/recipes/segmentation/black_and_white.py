"""Masks of black and white: 0 is the background and 255 the foreground of two classes, unless 255 is said to be void.

A file alone can't say which: 0 and 255 may be background and void, and the foreground elsewhere. Therefore samples keep the ids
that their files store, and a data set whose files store 1 as well as 255 is refused.

Legend: N distinct ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes import Sample

WHITE = 255
BLACK_AND_WHITE = ("background", "foreground")
"""The classes of masks of black and white that nobody named."""


def is_black_and_white(stored_N: np.ndarray, classes: int, ignore_index: int | None) -> bool:
    """Whether 255 stands for class 1 in a file that stores these ids."""
    return classes == 2 and ignore_index is None and WHITE in stored_N and bool(np.isin(stored_N, (0, WHITE)).all())


def unmixed(samples: Iterable[Sample]) -> Iterator[Sample]:
    """The same samples. DataError at the first one after which both 1 and 255 were stored."""
    stored = set[int]()
    for sample in samples:
        stored.update(sample["stored"].tolist() if "stored" in sample else [])
        if {1, WHITE} <= stored:
            raise DataError(
                "some labels hold 0 and 255, others 1: where 255 stands for no class, set ignore_index to 255; where it is the "
                "second class, set map_ids to {255: 1}"
            )
        yield sample


def note_of(samples: Sequence[Sample]) -> list[str]:
    """A line for a person where 255 is taken for class 1."""
    if any("stored" in sample and WHITE in sample["stored"] for sample in samples):
        return [
            "masks are black and white: 0 is the first class and 255 the second; set ignore_index to 255 if it is void"
        ]
    return []
