"""An orientation is read from either byte order and either kind of integer, and a broken block is upright."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.workers.codecs.exif import exif_orientation

ORIENTATION = 274


def block(*entries: tuple[int, int, int], order: str = "<", padding: int = 0) -> bytes:
    """An EXIF block with a first directory of (tag, 3 short or 4 long, value), `padding` bytes behind its header."""
    start = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8 + padding) + bytes(padding)
    formats = {3: "HHIHxx", 4: "HHII"}
    packed = [struct.pack(order + formats[kind], tag, kind, 1, value) for tag, kind, value in entries]
    return start + struct.pack(f"{order}H", len(entries)) + b"".join(packed)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [3, 4])
@pytest.mark.parametrize("value", range(1, 9))
def test_each_orientation_is_read_wherever_it_lies(value: int, kind: int, order: str) -> None:
    assert (
        exif_orientation(block((256, 4, 7), (ORIENTATION, kind, value), (305, 3, 5), order=order, padding=5)) == value
    )


@pytest.mark.parametrize(
    "tiff",
    [
        b"",
        b"II*",
        b"XX" + block((ORIENTATION, 3, 6))[2:],
        block(),
        block((256, 3, 6)),
        block((ORIENTATION, 3, 0)),
        block((ORIENTATION, 3, 9)),
        block((ORIENTATION, 3, 6))[:-3],
        block((ORIENTATION, 3, 6)).replace(struct.pack("<HH", ORIENTATION, 3), struct.pack("<HH", ORIENTATION, 5)),
        struct.pack("<2sHI", b"II", 42, 2**32 - 1),
    ],
    ids=str,
)
def test_a_block_without_an_orientation_is_upright(tiff: bytes) -> None:
    assert exif_orientation(tiff) == 1


@settings(deadline=None)
@given(st.binary(max_size=60), st.sampled_from([b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"]))
def test_any_bytes_are_an_orientation(data: bytes, start: bytes) -> None:
    assert 1 <= exif_orientation(start + data) <= 8
