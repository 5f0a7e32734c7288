"""Read JPEG without its metadata, and refuse a file with missing pixels.

Legend: C = 3 channels, H = height, W = width; pixels are uint8.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import torch
from PIL.JpegImagePlugin import JpegImageFile

from pixelmill.workers.codecs import headers
from pixelmill.workers.codecs.decode_errors import check_size, corrupt
from pixelmill.workers.codecs.exif import exif_orientation
from pixelmill.workers.codecs.pillow import loaded
from pixelmill.workers.codecs.pixels import to_pixels, to_rgb_or_grey
from pixelmill.workers.codecs.turbo_jpeg import turbo_pixels
from pixelmill.workers.geometry.reduced import factor_of
from pixelmill.workers.pictures import Reduced

_END = b"\xff\xd9"


@dataclass(frozen=True)
class _Stored:
    """A JPEG without its metadata: `head` to the end of the first scan's header, and the scans up to the end marker.

    The scans are a view of the file, so that only one copy of them exists at a time.
    """

    head: bytes
    scans: memoryview
    frame: headers.JpegFrame
    has_one_scan: bool
    orientation: int

    def for_turbo(self) -> bytes:
        return b"".join((self.head, self.scans, _END))

    def for_pillow(self) -> bytes:
        """The file with an ending that makes Pillow refuse it if coded pixels are missing.

        If an end marker comes too early, libjpeg fills the rest with grey and only warns, and Pillow drops the warning. Without
        an end marker, Pillow raises. So it is replaced, for a file with a single scan, by twice the bytes that the decoder reads
        ahead, which are 8 at most. A file with several scans needs its marker, so a progressive file that was truncated and then
        closed with a marker is read with the remaining detail.
        """
        return b"".join((self.head, self.scans, bytes(16) if self.has_one_scan else _END))


def read_jpeg(data: bytes, max_pixels: int, least_px: int | None = None) -> tuple[torch.Tensor, int, Reduced]:
    """Pixels_CHW as they are stored, interleaved in memory; the EXIF orientation; and the fraction that was decoded.

    `least_px` pixels of the shorter side are kept at least, where they are a fraction; see `factor_of`. None: all of them.
    """
    stored = _stored(data, max_pixels)
    frame = stored.frame
    is_turned = stored.orientation != 1
    factor = 1 if least_px is None else factor_of(frame.height, frame.width, least_px, is_turned=is_turned)
    pixels_CHW = turbo_pixels(stored.for_turbo(), frame, factor)
    if pixels_CHW is None:
        pixels_CHW = _by_pillow(stored, factor)
    return pixels_CHW, stored.orientation, Reduced(factor, frame.height, frame.width)


def _by_pillow(stored: _Stored, factor: int) -> torch.Tensor:
    picture = JpegImageFile(io.BytesIO(stored.for_pillow()))
    if factor > 1:
        width, height = picture.size
        picture.draft(picture.mode, (width // factor, height // factor))
    return to_pixels(to_rgb_or_grey(loaded(picture)))


def _stored(data: bytes, max_pixels: int) -> _Stored:
    kept, orientation, frame, payload, end = [data[:2]], 1, None, 0, 0
    for marker, start, payload, end in headers.jpeg_segments(data):
        if marker in headers.JPEG_FRAMES:
            frame = headers.jpeg_frame(marker, data[payload:end])
            check_size(frame.width, frame.height, max_pixels)
        elif marker == 0xE1 and data.startswith(b"Exif\0\0", payload):
            orientation = exif_orientation(data[payload + 6 : end])
        if marker < 0xE0 or _is_needed_for_colour(marker, data[payload:end]):
            kept.append(data[start:end])
    if frame is None:
        raise corrupt("its first scan comes before its frame header")
    last = headers.jpeg_end(data, end)
    has_one_scan = frame.has_one_scan(data[payload])
    if not has_one_scan:
        headers.check_jpeg_scans(data, frame, end, last)
    return _Stored(b"".join(kept), memoryview(data)[end:last], frame, has_one_scan, orientation)


def _is_needed_for_colour(marker: int, payload: bytes) -> bool:
    """The two application segments without which the decoder would guess the colour space wrong."""
    is_jfif = marker == 0xE0 and payload.startswith(b"JFIF") and len(payload) >= 14
    return is_jfif or (marker == 0xEE and payload.startswith(b"Adobe") and len(payload) >= 12)
