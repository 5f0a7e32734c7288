"""Fingerprints of pictures: a hash of the pixels, a perceptual hash, brightness and sharpness; near pairs of hashes.

Legend: C channels, H height, W width, S side, N pictures, P pairs.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from pixelmill.workers.similarity.near_pairs import MOST_PAIRS, NO_PAIRS, Pairs, joined

HASH_BITS = 64
MOST_DIFFERENT_BITS = 4
"""Hashes of a photograph and its shrunk, compressed copy differ in 0 to 4 of 64 bits, of an even texture in more; those of two
pictures in about 32."""
HASHED_PX = 32
MEASURED_PX = 256
"""Statistics are measured at this longer side, so that they can be compared between pictures of any size."""
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
FLAT_CONTRAST = 0.01
"""A picture with less has no structure of which a perceptual hash could be made."""


class PixelStatistics(NamedTuple):
    """Statistics of the luma, which is in [0, 1]."""

    brightness: float
    """Mean."""
    contrast: float
    """Standard deviation, at most 0.5."""
    sharpness: float
    """Standard deviation of the Laplacian (4 x pixel - its neighbours)."""


def pixels_sha256(pixels_CHW: np.ndarray) -> str:
    """Of the decoded pixels and their shape: equal for files that differ in metadata or in lossless compression alone."""
    stated = f"{pixels_CHW.dtype} {pixels_CHW.shape} ".encode()
    return hashlib.sha256(stated + np.ascontiguousarray(pixels_CHW).tobytes()).hexdigest()


def luma_of(pixels_CHW: np.ndarray) -> np.ndarray:
    """Luma HW in [0, 1], float32, of uint8 pixels with one channel or three."""
    if len(pixels_CHW) == 1:
        return pixels_CHW[0].astype(np.float32) / 255
    return np.tensordot(LUMA, pixels_CHW.astype(np.float32), 1) / 255


def perceptual_hash(luma_SS: np.ndarray) -> int:
    """64 bits from luma at HASHED_PX a side: the lowest 8 x 8 frequencies but for the mean, each above their median or not
    (pHash, Zauner 2010). 0 for a picture without structure.
    """
    if float(luma_SS.std()) < FLAT_CONTRAST:
        return 0
    low = (_COSINES @ luma_SS @ _COSINES.T).ravel()
    bits = low > np.median(low[1:])
    bits[0] = False  # the mean, which is brightness and no structure
    return int(np.packbits(bits).view(">u8")[0])


def _dct_rows(side: int, frequencies: int) -> np.ndarray:
    """The lowest rows of the DCT-II."""
    places = np.arange(side) + 0.5
    return np.cos(np.pi * np.outer(np.arange(frequencies), places) / side).astype(np.float32)


_COSINES = _dct_rows(HASHED_PX, 8)


def statistics_of(luma_HW: np.ndarray) -> PixelStatistics:
    """Of luma in [0, 1] with a longer side of MEASURED_PX or less."""
    inner = luma_HW[1:-1, 1:-1]
    laplacian = 4 * inner - luma_HW[:-2, 1:-1] - luma_HW[2:, 1:-1] - luma_HW[1:-1, :-2] - luma_HW[1:-1, 2:]
    sharpness = float(laplacian.std()) if laplacian.size else 0.0
    return PixelStatistics(float(luma_HW.mean()), float(luma_HW.std()), sharpness)


def different_bits(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The number of bits in which hashes of uint64 differ."""
    return np.bitwise_count(np.bitwise_xor(left, right)).astype(np.int64)


def near_hashes(hashes_N: np.ndarray, most_bits: int = MOST_DIFFERENT_BITS) -> Pairs:
    """Every pair of hashes (uint64) that differ in at most so many bits; nearness is the share of equal bits.

    Two hashes that differ in n bits agree in one of n + 1 stretches of bits, so that only those that share a stretch are
    compared. Hashes of 0 are in no pair: their pictures have no structure.
    """
    rows_N = np.flatnonzero(hashes_N != 0)
    found = [NO_PAIRS]
    held = 0
    for stretch in _stretches(hashes_N[rows_N].astype(np.uint64), most_bits + 1):
        for members in _sharing(stretch):
            for pairs in _near_among(rows_N[members], hashes_N, most_bits):
                found.append(pairs)
                held += len(pairs)
                if held > MOST_PAIRS:
                    return joined(found)
    return joined(found)


def _stretches(hashes_N: np.ndarray, count: int) -> list[np.ndarray]:
    bounds = np.linspace(0, HASH_BITS, count + 1).astype(int)
    return [
        (hashes_N >> np.uint64(first)) & np.uint64((1 << (last - first)) - 1)
        for first, last in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    ]


def _sharing(stretch_N: np.ndarray) -> list[np.ndarray]:
    """The places of each value that occurs more than once."""
    order = np.argsort(stretch_N, kind="stable")
    bounds = np.flatnonzero(np.diff(stretch_N[order])) + 1
    return [members for members in np.split(order, bounds) if len(members) > 1]


def _near_among(rows_M: np.ndarray, hashes_N: np.ndarray, most_bits: int) -> list[Pairs]:
    own_M = hashes_N[rows_M]
    found: list[Pairs] = []
    for place in range(len(rows_M) - 1):
        bits = different_bits(own_M[place + 1 :], own_M[place])
        near = np.flatnonzero(bits <= most_bits)
        if len(near):
            rows = rows_M[place + 1 + near]
            left, right = np.minimum(rows, rows_M[place]), np.maximum(rows, rows_M[place])
            found.append(Pairs(left, right, (1 - bits[near] / HASH_BITS).astype(np.float32)))
    return found


def shape_of(luma_SS: np.ndarray) -> np.ndarray:
    """A thumbnail's luma as a vector of length 1 without its mean, whose product is the correlation of two thumbnails; zeros for
    one without structure.
    """
    centred = (luma_SS - luma_SS.mean()).ravel().astype(np.float32)
    length = float(np.linalg.norm(centred))
    return centred / length if float(luma_SS.std()) >= FLAT_CONTRAST else np.zeros_like(centred)
