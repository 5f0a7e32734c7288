"""Write PNG from rows of bytes, with the filter Up and the zlib settings that `encode.py` measured.

Legend: H height, N bytes in a row.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pixelmill.workers.errors import RowError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, RGBA = 0, 2, 3, 6
"""Colour types of IHDR."""
Strategy = Literal["default", "runs"]
STRATEGIES: dict[Strategy, int] = {"default": zlib.Z_DEFAULT_STRATEGY, "runs": zlib.Z_RLE}

UP = 2
BAND_BYTES = 1 << 18
"""Approximate bytes of rows that are filtered at once, so that they are still in the cache when zlib reads them."""
MOST_CHUNK_BYTES = 2**31 - 1


@dataclass(frozen=True)
class Header:
    """The fields of IHDR."""

    width: int
    height: int
    bits: Literal[8, 16]
    colour: int


def write_png(rows_HN: np.ndarray, header: Header, *, level: int, strategy: Strategy, palette: bytes = b"") -> bytes:
    """PNG of rows in stored form: uint8, with 16-bit values in big-endian order. RowError if the PNG has 2 GB or more.

    zlib and numpy release the interpreter lock meanwhile.
    """
    pixels = _deflated(rows_HN, level, STRATEGIES[strategy])
    if (count := sum(map(len, pixels))) > MOST_CHUNK_BYTES:
        size = f"{header.width:,}x{header.height:,} px"
        raise RowError("encode", "TooLarge", f"a PNG of {size} takes {count:,} bytes, more than one can hold")
    ihdr = struct.pack(">IIBBBBB", header.width, header.height, header.bits, header.colour, 0, 0, 0)
    chunks = [*_chunk(b"IHDR", [ihdr]), *(_chunk(b"PLTE", [palette]) if palette else [])]
    return b"".join([SIGNATURE, *chunks, *_chunk(b"IDAT", pixels), *_chunk(b"IEND", [])])


def _deflated(rows_HN: np.ndarray, level: int, strategy: int) -> list[bytes]:
    """The compressed rows in pieces, which the caller joins once, because they may have a gigabyte."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, strategy)
    height, row_bytes = rows_HN.shape
    band_rows = max(1, BAND_BYTES // row_bytes)
    bands = (_filtered(rows_HN, start, start + band_rows).data for start in range(0, height, band_rows))
    return [*filter(None, map(compressor.compress, bands)), compressor.flush()]


def _filtered(rows_HN: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Each row as its difference to the row above, preceded by the number of the filter."""
    rows_BN = rows_HN[start:stop]
    filtered_BN = np.empty((rows_BN.shape[0], rows_BN.shape[1] + 1), np.uint8)
    filtered_BN[:, 0] = UP
    above_N = rows_HN[start - 1] if start else np.zeros(rows_BN.shape[1], np.uint8)
    np.subtract(rows_BN[0], above_N, out=filtered_BN[0, 1:])
    np.subtract(rows_BN[1:], rows_BN[:-1], out=filtered_BN[1:, 1:])
    return filtered_BN


def _chunk(kind: bytes, data: Sequence[bytes]) -> list[bytes]:
    """A chunk: length, type, data and checksum."""
    checksum = zlib.crc32(kind)
    for piece in data:
        checksum = zlib.crc32(piece, checksum)
    return [struct.pack(">I", sum(map(len, data))), kind, *data, struct.pack(">I", checksum)]
