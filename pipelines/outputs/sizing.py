"""Estimate how many bytes of output each input makes, from its listing alone and never from the machine that lists.

Legend: N inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Numbers = npt.NDArray[np.int64]

TYPICAL_PX = 500_000
"""The assumed pixels of a picture if no input of the listing has a known size in bytes."""
PX_PER_BYTE = 6.0
"""For JPEG, which has 4 to 8, and for names without a known suffix."""
PX_PER_BYTE_BY_SUFFIX: dict[tuple[str, ...], float] = {
    (".webp", ".heic", ".heif", ".avif"): 10.0,
    (".png", ".jp2", ".gif"): 0.7,
    (".dcm", ".nii", ".tif", ".tiff", ".bmp", ".ppm", ".pgm"): 0.4,
}
MOST_PX = 1 << 40
_SAMPLES = 128
_BLOCK = 1 << 16

_untyped: Any = pc  # its stubs leave the types of columns open


def pixels_of(listed: pa.Table) -> Numbers:
    """The estimated pixels of each input of a manifest's table, over all its pictures; 0 if its size in bytes is unknown."""
    names = _untyped.coalesce(listed["member"], listed["uri"])
    factors_N = np.full(listed.num_rows, PX_PER_BYTE)
    for suffixes, factor in PX_PER_BYTE_BY_SUFFIX.items():
        for suffix in suffixes:
            has_suffix_N = _untyped.ends_with(names, suffix, ignore_case=True).to_numpy().astype(bool)
            factors_N[has_suffix_N] = factor
    sizes_N = _untyped.fill_null(listed["size"].cast(pa.int64()), 0).to_numpy()
    return np.clip(sizes_N * factors_N, 0, MOST_PX).astype(np.int64)


def foreseen_bytes(pixels_N: Numbers, row_bytes: Callable[[int], int], rows_per_input: float = 1.0) -> Numbers:
    """The estimated output of each input in bytes, where a row of so many pixels makes `row_bytes(pixels)`.

    An input of unknown size is assumed to have the mean of the others.
    """
    if not len(pixels_N):
        return np.zeros(0, np.int64)
    usual_px, least_px, most_px = _usual_least_most(pixels_N, TYPICAL_PX * rows_per_input)
    # Evaluated at a few sizes and interpolated, because there may be millions of inputs.
    at_S = np.geomspace(max(1.0, least_px / rows_per_input), max(1.0, most_px / rows_per_input) + 1, _SAMPLES)
    bytes_S = np.array([max(1, row_bytes(int(px))) for px in at_S], float)
    bytes_N = np.empty(len(pixels_N), np.int64)
    for some_N, made_N in zip(_blocks(pixels_N), _blocks(bytes_N), strict=True):
        row_px_N = np.where(some_N > 0, some_N, usual_px) / rows_per_input
        made_N[:] = np.maximum(1, np.interp(row_px_N, at_S, bytes_S) * rows_per_input)
    return bytes_N


def _usual_least_most(pixels_N: Numbers, typical_px: float) -> tuple[float, float, float]:
    """The mean of the known sizes, which the unknown ones are assumed to have, the smallest size, and the largest."""
    known, total_px, least_px, most_px = 0, 0, MOST_PX, 0
    for some_N in _blocks(pixels_N):
        there_N = some_N[some_N > 0]
        if len(there_N):
            known, total_px = known + len(there_N), total_px + int(there_N.sum())
            least_px, most_px = min(least_px, int(there_N.min())), max(most_px, int(there_N.max()))
    usual_px = total_px // known if known else typical_px
    if known == len(pixels_N):
        return usual_px, least_px, most_px
    return usual_px, min(least_px, usual_px), max(most_px, usual_px)


def _blocks(values_N: Numbers) -> Iterator[Numbers]:
    """Views of so many values at a time, so that computing with them takes little memory."""
    return (values_N[start : start + _BLOCK] for start in range(0, len(values_N), _BLOCK))


def cut_large(part_rows: Sequence[int], bytes_N: Numbers, file_bytes: int, multiple: int) -> list[int]:
    """Cut each part whose output would exceed `file_bytes` into smaller ones, of multiples of `multiple` rows if possible."""
    ends_N = np.cumsum(bytes_N)
    cut: list[int] = []
    start = 0
    for rows in part_rows:
        end = start + rows
        while start < end:
            before = int(ends_N[start - 1]) if start else 0
            most = int(np.searchsorted(ends_N[start:end], before + file_bytes, side="right"))
            taken = max(1, most if most < multiple or most == end - start else most - most % multiple)
            cut.append(taken)
            start += taken
    return cut
