"""Read the pixel layout from a TIFF's first directory, and refuse unsupported layouts by name.

Bit depth, meaning and order of samples, byte order and compression of a TIFF can be combined freely, and Pillow reads some
combinations wrong without an error. `is_for_pillow` lists those that it reads correctly; tests/workers/codecs/test_tiff.py
compares them with the values that were written. `workers/codecs/tiff.py` reads the others.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pixelmill.workers.codecs.decode_errors import check_has_pixels, corrupt, truncated, unsupported
from pixelmill.workers.errors import RowError
from pixelmill.workers.wording import counted

Tags = dict[int, tuple[int, ...]]

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS_PER_STRIP, _STRIP_LENGTHS = 273, 274, 277, 278, 279
_PLANAR, _PREDICTOR, _COLOUR_MAP, _TILE_WIDTH, _TILE_HEIGHT = 284, 317, 320, 322, 323
_TILE_OFFSETS, _TILE_LENGTHS, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 324, 325, 338, 339
_NEW_SUBFILE_TYPE, _DNG_VERSION = 254, 50706

_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}  # TIFF field type -> struct code
_MOST_SAMPLES = 64

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
_COLOUR_SAMPLES = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, LAB: 3}
_PHOTOMETRICS = {
    4: "a transparency mask",
    9: "ICC L*a*b* colours",
    10: "ITU L*a*b* colours",
    32803: "a colour filter array (camera RAW)",
    32844: "logarithmic luminance",
    32845: "logarithmic luminance and colour",
    34892: "linear sensor values (camera RAW)",
    51177: "a depth map",
}

NONE, LZW, JPEG, DEFLATE, JPEG_2000, WEBP = 1, 5, 7, 8, 34712, 50001
BYTE_STREAMS = frozenset({NONE, LZW, DEFLATE, 32773, 32946, 34925, 50000})  # and PackBits, old Deflate, LZMA, Zstandard
_BY_PILLOW_ALONE = frozenset({2, 3, 4, 6, JPEG, 32771})  # CCITT, both kinds of JPEG
_COMPRESSIONS = {
    2: "CCITT RLE",
    3: "CCITT group 3",
    4: "CCITT group 4",
    LZW: "LZW",
    6: "old-style JPEG",
    JPEG: "JPEG",
    32771: "CCITT RLE/W",
    32809: "ThunderScan",
    33003: "Aperio JPEG 2000",
    33005: "Aperio JPEG 2000",
    34661: "JBIG",
    34676: "SGI Log",
    34677: "SGI Log",
    JPEG_2000: "JPEG 2000",
    34713: "Nikon NEF",
    34887: "LERC",
    34892: "lossy JPEG (camera RAW)",
    34933: "PNG",
    34934: "JPEG XR",
    WEBP: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}

UNASSOCIATED_ALPHA, ASSOCIATED_ALPHA = 2, 1


@dataclass(frozen=True)
class TiffLayout:
    """How the pixels of the first page lie in the file. A segment is a strip or a tile."""

    width: int
    height: int
    bits: int
    samples: int
    sample_formats: frozenset[int]
    photometric: int
    compression: int
    is_planar: bool
    extra_samples: tuple[int, ...]
    segment_width: int
    segment_height: int
    is_tiled: bool
    order: str  # < little-endian, > big-endian
    is_big_tiff: bool
    fill_order: int
    predictor: int
    orientation: int
    is_preview: bool

    @property
    def colours(self) -> int:
        """Number of colour samples; further samples are extra."""
        return min(self.samples, _COLOUR_SAMPLES.get(self.photometric, self.samples))

    @property
    def alpha(self) -> int | None:
        """Kind of the first extra sample if it is alpha. RGB with one extra sample of unspecified kind is RGBA."""
        if self.extra_samples:
            kind = self.extra_samples[0]
            return kind if kind in (ASSOCIATED_ALPHA, UNASSOCIATED_ALPHA) else None
        return UNASSOCIATED_ALPHA if (self.photometric, self.samples) == (RGB, 4) else None

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of a segment: of all samples, or of one sample if each has a separate plane."""
        return (self.segment_width * self.bits * (1 if self.is_planar else self.samples) + 7) // 8

    @property
    def segment_bytes(self) -> int:
        return self.segment_height * self.row_bytes


def read_layout(data: bytes) -> TiffLayout:
    """The layout of a readable first page; raises RowError otherwise."""
    tags, order = read_tags(data, _LAYOUT_TAGS)
    width, height = _one(tags, _WIDTH, 0), _one(tags, _HEIGHT, 0)
    check_has_pixels(width, height)
    samples, bits = _one(tags, _SAMPLES, 1), tags.get(_BITS, (1,))
    if not 1 <= samples <= _MOST_SAMPLES or not 1 <= bits[0] <= 64:
        raise corrupt(f"its header says {counted(samples, 'sample')} of {bits[0]} bits per pixel")
    is_tiled = _TILE_WIDTH in tags and _TILE_HEIGHT in tags
    layout = TiffLayout(
        width=width,
        height=height,
        bits=bits[0] if len(set(bits[:samples])) == 1 else 0,
        samples=samples,
        sample_formats=frozenset(tags.get(_SAMPLE_FORMAT, (1,))[:samples]),
        photometric=YCBCR if _one(tags, _COMPRESSION, 1) == 6 else _one(tags, _PHOTOMETRIC, 0),
        compression=_one(tags, _COMPRESSION, NONE),
        is_planar=_one(tags, _PLANAR, 1) == 2 and samples > 1,
        extra_samples=tags.get(_EXTRA_SAMPLES, ()),
        segment_width=_one(tags, _TILE_WIDTH, 0) if is_tiled else width,
        segment_height=_one(tags, _TILE_HEIGHT, 0) if is_tiled else min(height, _one(tags, _ROWS_PER_STRIP, height)),
        is_tiled=is_tiled,
        order=order,
        is_big_tiff=_is_big(data),
        fill_order=_one(tags, _FILL_ORDER, 1),
        predictor=_one(tags, _PREDICTOR, 1),
        orientation=_one(tags, _ORIENTATION, 1) if 1 <= _one(tags, _ORIENTATION, 1) <= 8 else 1,
        is_preview=_DNG_VERSION in tags or _one(tags, _NEW_SUBFILE_TYPE, 0) == 1,
    )
    _check(layout)
    return layout


def is_for_pillow(layout: TiffLayout) -> bool:
    """Whether Pillow reads this layout correctly. It reads few layouts with separate planes: not 16 bits, not grey with alpha."""
    if layout.is_big_tiff and layout.order == ">":
        return False
    if layout.compression in _BY_PILLOW_ALONE:
        return True
    if layout.compression not in BYTE_STREAMS or (layout.fill_order == 2 and layout.bits > 8):
        return False
    key = (layout.photometric, layout.bits)
    if layout.is_planar:
        return key == (RGB, 8) and layout.samples == 3
    if layout.samples == layout.colours:
        return key in _PILLOW_READS and (*key, layout.order) != (WHITE_IS_ZERO, 16, ">")
    return key == (RGB, 8) and layout.samples == 4 and layout.fill_order == 1


_PILLOW_READS = frozenset(
    {(photometric, bits) for photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO) for bits in (1, 2, 4, 8, 16)}
    | {(PALETTE, bits) for bits in (1, 2, 4, 8)}
    | {(photometric, bits) for photometric in (RGB, CMYK) for bits in (8, 16)}
    | {(YCBCR, 8), (LAB, 8)}
)


def _check(layout: TiffLayout) -> None:
    """Refuse by name what neither Pillow nor `workers/codecs/tiff.py` reads."""
    if layout.is_preview:
        # DNGVersion, or NewSubfileType "reduced-resolution copy of another page"
        raise unsupported("camera RAW (a TIFF whose first page is only a preview)")
    if layout.compression not in BYTE_STREAMS | _BY_PILLOW_ALONE | {JPEG_2000, WEBP}:
        raise _unread(f"compressed with {_compression_name(layout)}")
    if layout.photometric not in _COLOUR_SAMPLES:
        raise _unread(f"of {_PHOTOMETRICS.get(layout.photometric, f'photometric interpretation {layout.photometric}')}")
    if layout.sample_formats != frozenset({1}) or layout.bits > 16:
        raise _unread("of signed, 32-bit or float values, which have no agreed white,")
    if layout.bits == 0:
        raise _unread("whose samples have different bit depths")
    if min(layout.segment_width, layout.segment_height) < 1:
        raise corrupt("its strips or tiles have no size")
    if layout.samples < _COLOUR_SAMPLES[layout.photometric]:
        if layout.photometric != YCBCR:  # grey JPEG is called so
            raise corrupt(f"it has {counted(layout.samples, 'sample')} per pixel, too few for its colours")
    elif layout.photometric == BLACK_IS_ZERO and layout.samples > 2:
        raise _unread(f"of {layout.samples} bands that are not said to be colours")
    if not is_for_pillow(layout):
        _check_other(layout)


def _check_other(layout: TiffLayout) -> None:
    if layout.compression in _BY_PILLOW_ALONE:
        raise _unread(f"compressed with {_compression_name(layout)} in a big-endian BigTIFF")
    if layout.photometric in (YCBCR, LAB) and layout.compression not in (JPEG_2000, WEBP):
        name = "YCbCr" if layout.photometric == YCBCR else "L*a*b*"
        raise _unread(f"of {name} colours in {counted(layout.samples, 'sample')} of {layout.bits} bits")
    if layout.compression in (JPEG_2000, WEBP) and (layout.bits != 8 or layout.is_planar or layout.samples > 4):
        raise _unread(
            f"compressed with {_compression_name(layout)}, {counted(layout.samples, 'sample')} of {layout.bits} bits,"
        )
    if layout.predictor not in (1, 2) or (layout.predictor == 2 and layout.bits not in (8, 16)):
        raise _unread(f"with predictor {layout.predictor} over {layout.bits} bits")


def _compression_name(layout: TiffLayout) -> str:
    return _COMPRESSIONS.get(layout.compression, f"compression {layout.compression}")


def _unread(what: str) -> RowError:
    return unsupported(f"TIFF {what}")


def segments(data: bytes) -> list[tuple[int, int]]:
    """(offset, length) of every strip or tile, in the order of the file; raises where one runs past the end."""
    tags, _ = read_tags(data, _SEGMENT_TAGS)
    offsets = tags.get(_TILE_OFFSETS) or tags.get(_STRIP_OFFSETS, ())
    lengths = tags.get(_TILE_LENGTHS) or tags.get(_STRIP_LENGTHS, ())
    found = list(zip(offsets, lengths, strict=False))
    if any(offset + length > len(data) for offset, length in found):
        raise truncated("a strip of its pixels runs past the end")
    return found


def colour_map(data: bytes) -> tuple[int, ...]:
    """All reds, then all greens, then all blues, of 16 bits."""
    tags, _ = read_tags(data, {_COLOUR_MAP: 3 * 2**16})
    return tags.get(_COLOUR_MAP, ())


_MOST_SEGMENTS = 2**24
_LAYOUT_TAGS: dict[int, int] = dict.fromkeys(
    (
        *(_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _ORIENTATION, _SAMPLES, _ROWS_PER_STRIP),
        *(
            _PLANAR,
            _PREDICTOR,
            _TILE_WIDTH,
            _TILE_HEIGHT,
            _EXTRA_SAMPLES,
            _SAMPLE_FORMAT,
            _NEW_SUBFILE_TYPE,
            _DNG_VERSION,
        ),
    ),
    _MOST_SAMPLES,
)
_SEGMENT_TAGS: dict[int, int] = dict.fromkeys(
    (_STRIP_OFFSETS, _STRIP_LENGTHS, _TILE_OFFSETS, _TILE_LENGTHS), _MOST_SEGMENTS
)


def _is_big(data: bytes) -> bool:
    return data[2:4] in (b"+\0", b"\0+")


def _one(tags: Tags, tag: int, default: int) -> int:
    return tags[tag][0] if tags.get(tag) else default


def read_tags(data: bytes, wanted: dict[int, int]) -> tuple[Tags, str]:
    """The values of some integer tags of the first directory, and the byte order. `wanted` maps tags to most values."""
    order, is_big = "<" if data.startswith(b"II") else ">", _is_big(data)
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
        (tag,) = struct.unpack_from(f"{order}H", data, at)
        if tag in wanted and (values := _values(data, at, order, is_big, wanted[tag])):
            tags.setdefault(tag, values)
    return tags, order


def _values(data: bytes, at: int, order: str, is_big: bool, most: int) -> tuple[int, ...]:
    """The integers of an entry; empty if they are of another type, too many, or outside of the file."""
    kind, count = struct.unpack_from(f"{order}HQ" if is_big else f"{order}HI", data, at + 2)
    if kind not in _INTEGERS or not 1 <= count <= most:
        return ()
    code = f"{order}{count}{_INTEGERS[kind]}"
    at += 12 if is_big else 8
    if struct.calcsize(code) > (8 if is_big else 4):
        (at,) = struct.unpack_from(f"{order}Q" if is_big else f"{order}I", data, at)
    if at + struct.calcsize(code) > len(data):
        return ()
    return struct.unpack_from(code, data, at)
