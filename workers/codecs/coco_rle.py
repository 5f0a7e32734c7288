"""Masks as COCO's compressed run lengths, which its tools, detectron2 and most labelling tools read.

Runs go down the columns and alternate between outside and inside, starting with outside. From the fourth on, a run is stored as
its difference to the run two places before, in groups of 5 bits, lowest first, one character from "0" on for each group: bit 32
marks that more groups follow, and bit 16 of the last group is the sign (cocoapi, maskApi.c).

Legend: H height, W width, N pixels or runs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

GROUP_BITS, SIGN, MORE, FIRST_CHARACTER = 5, 16, 32, 48
MOST_GROUPS = 7
"""Most characters of a number of 32 bits."""


def encode_rle(ids_HW: np.ndarray) -> dict[int, str]:
    """The runs of each id that occurs, lowest id first; the size is that of the picture."""
    ids_N = np.ascontiguousarray(ids_HW.T).ravel()
    starts_N = np.concatenate([[0], np.flatnonzero(ids_N[1:] != ids_N[:-1]) + 1])
    ends_N, values_N = np.append(starts_N[1:], len(ids_N)), ids_N[starts_N]
    runs: dict[int, str] = {}
    for value in np.unique(values_N):
        inside = values_N == value
        borders_N = np.column_stack([starts_N[inside], ends_N[inside]]).ravel()
        lengths_N = np.diff(borders_N, prepend=0)
        rest = len(ids_N) - borders_N[-1]
        runs[int(value)] = _compressed(np.append(lengths_N, rest) if rest else lengths_N)
    return runs


def _compressed(lengths_N: np.ndarray) -> str:
    rest_N = lengths_N.astype(np.int64)
    rest_N[3:] -= lengths_N[1:-2]
    characters = np.zeros((len(rest_N), MOST_GROUPS), np.uint8)
    written = np.zeros(characters.shape, bool)
    follows_N = np.ones(len(rest_N), bool)
    for place in range(MOST_GROUPS):
        group_N = rest_N & (MORE - 1)
        rest_N >>= GROUP_BITS
        written[:, place] = follows_N
        is_negative_N = (group_N & SIGN) != 0
        more_N = (is_negative_N & (rest_N != -1)) | (~is_negative_N & (rest_N != 0))
        characters[:, place] = group_N + MORE * more_N + FIRST_CHARACTER
        follows_N = follows_N & more_N
    return characters[written].tobytes().decode("ascii")


def decode_rle(runs: str | Sequence[int], height: int, width: int) -> np.ndarray:
    """The mask of runs, compressed or as a list of lengths: bool HW. ValueError if they don't cover the picture."""
    lengths_N = np.asarray(_lengths(runs) if isinstance(runs, str) else runs, np.int64)
    if lengths_N.min(initial=0) < 0 or lengths_N.sum() != height * width:
        raise ValueError(f"the runs of a mask cover {lengths_N.sum():,} pixels of {height * width:,}")
    inside_N = np.arange(len(lengths_N)) % 2 == 1
    return np.repeat(inside_N, lengths_N).reshape(width, height).T


def _lengths(compressed: str) -> list[int]:
    """The lengths of compressed runs; the opposite of `_compressed`."""
    lengths: list[int] = []
    value = shift = 0
    for character in compressed.encode("latin-1", "replace"):
        group = character - FIRST_CHARACTER
        value |= (group & (MORE - 1)) << shift
        shift += GROUP_BITS
        if group & MORE:
            continue
        if group & SIGN:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    return lengths
