"""Read what a TIFF's first directory says about its pixels."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from workers.decode_errors import check_has_pixels, corrupt, truncated

Tags = dict[int, tuple[int, ...]]

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_SAMPLES, _ROWS_PER_STRIP, _PLANAR, _PREDICTOR = 277, 278, 284, 317
_TILE_WIDTH, _TILE_HEIGHT, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 322, 323, 338, 339
_NEW_SUBFILE_TYPE, _DNG_VERSION = 254, 50706

_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}  # TIFF field type -> struct code
_MOST_VALUES = 64  # of a tag that is looked at; longer ones are lists of strips, or broken
_UNTILED_MAX = 2**31


@dataclass(frozen=True)
class TiffLayout:
    """How the pixels of the first page lie in the file. A segment is a strip or a tile."""

    width: int
    height: int
    bits: tuple[int, ...]
    sample_formats: tuple[int, ...]
    photometric: int
    compression: int
    planar: int
    extra_samples: tuple[int, ...]
    segment_width: int
    segment_height: int
    is_tiled: bool
    is_big_endian: bool
    is_big_tiff: bool
    fill_order: int
    predictor: int
    is_preview: bool

    @property
    def samples(self) -> int:
        return len(self.bits)

    def segment_bytes(self) -> int:
        """Size of one strip or tile once it is decompressed, all of its planes."""
        return self.segment_height * ((self.segment_width * sum(self.bits) + 7) // 8)


def read_layout(data: bytes) -> TiffLayout:
    """The layout of the first page; raises RowError where the directory can't be one of a picture."""
    tags, order = _read_directory(data)
    width, height = _one(tags, _WIDTH, 0), _one(tags, _HEIGHT, 0)
    check_has_pixels(width, height)
    samples = _one(tags, _SAMPLES, 1)
    if not 1 <= samples <= _MOST_VALUES:
        raise corrupt(f"its header says {samples} samples per pixel")
    is_tiled = _TILE_WIDTH in tags and _TILE_HEIGHT in tags
    return TiffLayout(
        width=width,
        height=height,
        bits=_for_each(tags.get(_BITS, (1,)), samples),
        sample_formats=_for_each(tags.get(_SAMPLE_FORMAT, (1,)), samples),
        photometric=_one(tags, _PHOTOMETRIC, 0),
        compression=_one(tags, _COMPRESSION, 1),
        planar=_one(tags, _PLANAR, 1),
        extra_samples=tags.get(_EXTRA_SAMPLES, ()),
        segment_width=_one(tags, _TILE_WIDTH, width) if is_tiled else width,
        segment_height=_one(tags, _TILE_HEIGHT, height)
        if is_tiled
        else min(height, _one(tags, _ROWS_PER_STRIP, height)),
        is_tiled=is_tiled,
        is_big_endian=order == ">",
        is_big_tiff=data[2:4] in (b"+\0", b"\0+"),
        fill_order=_one(tags, _FILL_ORDER, 1),
        predictor=_one(tags, _PREDICTOR, 1),
        is_preview=_DNG_VERSION in tags or _one(tags, _NEW_SUBFILE_TYPE, 0) == 1,
    )


def _one(tags: Tags, tag: int, default: int) -> int:
    return tags[tag][0] if tags.get(tag) else default


def _for_each(values: tuple[int, ...], samples: int) -> tuple[int, ...]:
    """A value for each sample: writers leave out the repetitions of one that holds for all."""
    return (values * samples if len(values) == 1 else values)[:samples] or (1,) * samples


def _read_directory(data: bytes) -> tuple[Tags, str]:
    """The integer tags of the first directory, and the byte order."""
    order = "<" if data.startswith(b"II") else ">"
    is_big = data[2:4] in (b"+\0", b"\0+")
    try:
        (directory,) = struct.unpack_from(f"{order}Q" if is_big else f"{order}I", data, 8 if is_big else 4)
        (entries,) = struct.unpack_from(f"{order}Q" if is_big else f"{order}H", data, directory)
    except struct.error:
        raise truncated("its first directory lies past the end") from None
    start, size = directory + (8 if is_big else 2), 20 if is_big else 12
    if start + size * entries > len(data):
        raise truncated("its first directory runs past the end")
    tags: Tags = {}
    for at in range(start, start + size * entries, size):
        tag, values = _read_entry(data, at, order, is_big)
        if values and tag not in tags:
            tags[tag] = values
    return tags, order


def _read_entry(data: bytes, at: int, order: str, is_big: bool) -> tuple[int, tuple[int, ...]]:
    """Tag and values; no values where the entry holds no integers, too many, or lies outside of the file."""
    tag, kind, count = struct.unpack_from(f"{order}HHQ" if is_big else f"{order}HHI", data, at)
    if (code := _INTEGERS.get(kind)) is None or not 1 <= count <= _MOST_VALUES:
        return tag, ()
    at += 12 if is_big else 8
    if struct.calcsize(code) * count > (8 if is_big else 4):
        (at,) = struct.unpack_from(f"{order}Q" if is_big else f"{order}I", data, at)
    try:
        return tag, struct.unpack_from(f"{order}{count}{code}", data, at)
    except struct.error:
        return tag, ()
