"""Read the headers of JPEG, PNG, WebP, GIF and BMP: size and layout of their pixels, without decoding them.

Every function takes the bytes of a whole file, reads a few of them, and raises RowError if they can't be a picture. No
allocation depends on the claims of a header.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pixelmill.workers.codecs.decode_errors import check_has_pixels, corrupt, truncated, unsupported

# ------------------------------------------------------------------------------------------------------------- JPEG

JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_FRAMES_READ = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})  # baseline, extended, progressive; the same, arithmetic
_JPEG_SEQUENTIAL = frozenset({0xC0, 0xC1})
_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
_JPEG_END = re.compile(rb"\xff\xd9")  # three times as fast as bytes.find
_JPEG_SCAN = b"\xff\xda"

# A scan that codes next to nothing still makes the decoder visit every block, for 0.2 to 0.6 ns a pixel, so the work in a
# file is scans x pixels and not its length. Encoders write 1 to 20 scans. 500 is what libjpeg-turbo's own fuzzers stop
# at; the product keeps the largest pictures, too, within a few seconds on one core (64 scans at 134 megapixels).
MAX_JPEG_SCANS = 500
MAX_JPEG_SCAN_PIXELS = 2**33


@dataclass(frozen=True)
class JpegFrame:
    """A frame header. `sampling` has the horizontal and vertical factor of every component."""

    marker: int
    width: int
    height: int
    sampling: tuple[tuple[int, int], ...]

    def has_one_scan(self, channels_in_first_scan: int) -> bool:
        """Whether the first scan contains all components, so that rows are decoded one after the other."""
        return self.marker in _JPEG_SEQUENTIAL and channels_in_first_scan == len(self.sampling)

    def coefficient_bytes(self) -> int:
        """Bytes that a decoder holds for a picture of several scans: 64 coefficients of 2 bytes for each block."""
        most_across, most_down = (max(factors) for factors in zip(*self.sampling, strict=True))
        units = -(-self.width // (8 * most_across)) * -(-self.height // (8 * most_down))
        return units * sum(across * down for across, down in self.sampling) * 64 * 2


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield (marker, start, payload, end) of every segment up to the first scan's header; junk between is skipped."""
    at, marker = 2, 0
    while marker != 0xDA:
        start, marker, at = _next_jpeg_marker(data, at)
        if marker == 0xD9:
            raise corrupt("it has an end but no scan")
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers that stand alone
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        end = at + max(2, length)
        if end > len(data):
            raise truncated(f"segment FF{marker:02X} runs past the end")
        if length < 2:
            raise corrupt(f"segment FF{marker:02X} has a length below 2")
        yield marker, start, at + 2, end
        at = end


def _next_jpeg_marker(data: bytes, at: int) -> tuple[int, int, int]:
    """The next marker's position, its second byte, and the position behind it."""
    start = data[at : at + 2]
    if len(start) == 2 and start[0] == 0xFF and 0 < start[1] < 0xFF:  # nearly always: nothing lies between segments
        return at, start[1], at + 2
    if (match := _JPEG_MARKER.search(data, at)) is None:
        raise truncated("it stops before the first scan")
    return match.start(), match[1][0], match.end()


def jpeg_frame(marker: int, payload: bytes) -> JpegFrame:
    """The frame header of a supported JPEG; raises for every other."""
    if len(payload) < 6:
        raise corrupt("its frame header is too short")
    bits, height, width, channels = struct.unpack(">BHHB", payload[:6])
    if marker not in _JPEG_FRAMES_READ:
        raise unsupported(f"lossless or hierarchical JPEG (SOF{marker - 0xC0})")
    if bits != 8:
        raise unsupported(f"{bits}-bit JPEG")
    check_has_pixels(width, height)
    factors = payload[7 : 6 + 3 * channels : 3]
    sampling = tuple((factor >> 4, factor & 15) for factor in factors)
    if len(sampling) != channels or not all(1 <= factor <= 4 for pair in sampling for factor in pair) or not sampling:
        raise corrupt("its frame header has impossible components")
    return JpegFrame(marker, width, height, sampling)


def jpeg_end(data: bytes, start: int) -> int:
    """The position of the end-of-image marker that follows the scan at `start`."""
    if (end := _JPEG_END.search(data, start)) is None:
        raise truncated("no end-of-image marker follows the scan")
    return end.start()


def check_jpeg_scans(data: bytes, frame: JpegFrame, start: int, end: int) -> None:
    """Refuse a file whose scans would keep a decoder busy for long. `start` is behind the first scan's header."""
    scans = 1 + data.count(_JPEG_SCAN, start, end)  # FF in coded pixels is followed by 00, so each of these is a scan
    if scans > MAX_JPEG_SCANS or scans * frame.width * frame.height > MAX_JPEG_SCAN_PIXELS:
        raise unsupported(f"a JPEG that codes {frame.width} x {frame.height} pixels in {scans:,} scans")


# -------------------------------------------------------------------------------------------------------------- PNG


@dataclass(frozen=True)
class PngHeader:
    """IHDR. `colour` is 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA."""

    width: int
    height: int
    bits: int
    colour: int
    is_interlaced: bool

    @property
    def row_bytes(self) -> int:
        """Bytes of one row, its filter's byte included."""
        return 1 + (self.width * self.bits * {2: 3, 4: 2, 6: 4}.get(self.colour, 1) + 7) // 8


def png_header(payload: bytes) -> PngHeader:
    if len(payload) < 13:
        raise corrupt("its IHDR chunk is too short")
    width, height, bits, colour, _, _, interlacing = struct.unpack_from(">IIBBBBB", payload)
    check_has_pixels(width, height)
    return PngHeader(width, height, bits, colour, interlacing != 0)


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield (kind, start, payload, end) of every chunk up to IEND; IHDR is first."""
    if data.startswith(b"CgBI", 12):
        raise unsupported("iOS PNG (CgBI, a variant that only Apple's tools read)")
    at, kind = 8, b""
    while kind != b"IEND":
        if len(data) < at + 12:
            raise truncated("no IEND chunk closes it")
        length, kind = struct.unpack_from(">I4s", data, at)
        if not kind.isalpha() or (at == 8) != (kind == b"IHDR"):
            raise corrupt(f"its chunk {kind!r} at byte {at} is out of place")
        end = at + 12 + length
        if end > len(data):
            raise truncated(f"its chunk {kind.decode()} at byte {at} runs past the end")
        yield kind, at, at + 8, end
        at = end


# ------------------------------------------------------------------------------------------------- the other formats


@dataclass(frozen=True)
class WebpHeader:
    width: int
    height: int
    has_alpha: bool
    is_animated: bool


def webp_header(data: bytes) -> WebpHeader:
    """The canvas of an extended WebP, the picture of a simple one."""
    if len(data) < 8 + int.from_bytes(data[4:8], "little"):
        raise truncated("it is shorter than its RIFF header says")
    kind = data[12:16]
    if kind == b"VP8X" and len(data) >= 30:
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
        return WebpHeader(width, height, bool(data[20] & 0x10), bool(data[20] & 0x02))
    if kind == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return WebpHeader(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), bool(bits >> 28 & 1), False)
    if kind == b"VP8 " and len(data) >= 30:
        width, height = (number & 0x3FFF for number in struct.unpack_from("<HH", data, 26))
        check_has_pixels(width, height)
        return WebpHeader(width, height, False, False)
    raise corrupt("its first chunk is no picture")


def gif_size(data: bytes) -> tuple[int, int]:
    """Width and height of the canvas."""
    if len(data) < 13:
        raise truncated("it stops in its header")
    width, height = struct.unpack_from("<HH", data, 6)
    check_has_pixels(width, height)
    return width, height


@dataclass(frozen=True)
class BmpHeader:
    width: int
    height: int
    bits: int


def bmp_header(data: bytes) -> BmpHeader:
    header_bytes = int.from_bytes(data[14:18], "little")
    if len(data) < 14 + header_bytes:
        raise truncated("it stops in its header")
    width, height, _, bits = struct.unpack_from("<HHHH" if header_bytes == 12 else "<iiHH", data, 18)
    check_has_pixels(width, height)
    if width < 0:
        raise corrupt(f"its header says {width} x {height} pixels")
    return BmpHeader(width, abs(height), bits)


_HEIF_EXTENT = re.compile(rb"\0\0\0\x14ispe\0\0\0\0(.{8})", re.DOTALL)


def heif_size(data: bytes) -> tuple[int, int]:
    """Width and height of the largest picture in an AVIF or HEIC, be it the whole, a tile of it or a thumbnail."""
    sizes = [struct.unpack(">II", match[1]) for match in _HEIF_EXTENT.finditer(data)]
    if not sizes:
        raise corrupt("no property of it states a size")
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    check_has_pixels(width, height)
    return width, height


@dataclass(frozen=True)
class Jpeg2000Header:
    width: int
    height: int
    tile_width: int
    tile_height: int
    channels: int


def jpeg2000_header(data: bytes) -> Jpeg2000Header:
    """The SIZ segment of the codestream, in a JP2 or bare."""
    if (start := data.find(b"\xff\x4f\xff\x51")) < 0:
        raise corrupt("no codestream is in it")
    if len(data) < start + 42:
        raise truncated("it stops in its header")
    right, bottom, left, top, tile_width, tile_height, _, _, channels = struct.unpack_from(">8IH", data, start + 8)
    width, height = right - left, bottom - top
    if min(width, height, tile_width, tile_height, channels) < 1:
        raise corrupt(f"its header says {width} x {height} pixels")
    return Jpeg2000Header(width, height, min(tile_width, width), min(tile_height, height), channels)
