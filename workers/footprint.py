"""What a decode will take, from the header alone."""

from __future__ import annotations

import struct

_BYTES_PER_PIXEL = 12


def decode_bytes(data: bytes) -> int:
    """About how many bytes decoding will hold at its peak, beside `data`. RowError for a broken header."""
    width, height = _size_of(data)
    return width * height * _BYTES_PER_PIXEL


def _size_of(data: bytes) -> tuple[int, int]:
    try:
        if data.startswith(b"\x89PNG"):
            return struct.unpack_from(">II", data, 16)
        if data.startswith(b"\xff\xd8"):
            return _jpeg_size(data)
        if data.startswith(b"GIF8"):
            return struct.unpack_from("<HH", data, 6)
        if data.startswith(b"BM"):
            width, height = struct.unpack_from("<ii", data, 18)
            return width, abs(height)
    except struct.error:
        pass
    return 0, 0


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker < 0xD0 and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 2 + length
    return 0, 0
