"""Read JPEG with Pillow, without its metadata, and refuse a file with missing pixels."""

from __future__ import annotations

import io

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from pixelmill.workers.codecs import headers
from pixelmill.workers.codecs.decode_errors import check_size, corrupt
from pixelmill.workers.codecs.exif import exif_orientation
from pixelmill.workers.codecs.pillow import loaded
from pixelmill.workers.geometry.reduced import factor_of
from pixelmill.workers.pictures import Reduced


def read_jpeg(data: bytes, max_pixels: int) -> tuple[Image.Image, int]:
    """The stored picture and its EXIF orientation."""
    picture, orientation = _opened(data, max_pixels)
    return loaded(picture), orientation


def read_reduced_jpeg(data: bytes, max_pixels: int, least_px: int) -> tuple[Image.Image, int, Reduced]:
    """The same, decoded at a fraction of its size that leaves the shorter side `least_px` pixels; see `factor_of`."""
    picture, orientation = _opened(data, max_pixels)
    width, height = picture.size
    factor = factor_of(height, width, least_px, is_turned=orientation != 1)
    if factor > 1:
        picture.draft(picture.mode, (width // factor, height // factor))
    return loaded(picture), orientation, Reduced(factor, height, width)


def _opened(data: bytes, max_pixels: int) -> tuple[JpegImageFile, int]:
    kept, orientation, frame = [data[:2]], 1, None
    for marker, start, payload, end in headers.jpeg_segments(data):
        if marker in headers.JPEG_FRAMES:
            frame = headers.jpeg_frame(marker, data[payload:end])
            check_size(frame.width, frame.height, max_pixels)
        elif marker == 0xE1 and data.startswith(b"Exif\0\0", payload):
            orientation = exif_orientation(data[payload + 6 : end])
        if marker < 0xE0 or _is_needed_for_colour(marker, data[payload:end]):
            kept.append(data[start:end])
        if marker == 0xDA:
            kept.append(_ended_scans(data, frame, payload, end))
    return JpegImageFile(io.BytesIO(b"".join(kept))), orientation


def _ended_scans(data: bytes, frame: headers.JpegFrame | None, payload: int, start: int) -> bytes:
    """The coded pixels, with an ending that makes the decoder refuse them if some are missing.

    If an end marker comes too early, libjpeg fills the rest with grey and only warns, and Pillow drops the warning. Without an
    end marker, Pillow raises. So the marker is required, but for a file with a single scan it is replaced by twice the bytes that
    the decoder reads ahead, which are 8 at most. A file with several scans needs its marker, so a progressive file that was
    truncated and then closed with a marker is read with the remaining detail.
    """
    if frame is None:
        raise corrupt("its first scan comes before its frame header")
    end = headers.jpeg_end(data, start)
    if frame.has_one_scan(data[payload]):
        return data[start:end] + bytes(16)
    headers.check_jpeg_scans(data, frame, start, end)
    return data[start : end + 2]


def _is_needed_for_colour(marker: int, payload: bytes) -> bool:
    """The two application segments without which the decoder would guess the colour space wrong."""
    is_jfif = marker == 0xE0 and payload.startswith(b"JFIF") and len(payload) >= 14
    return is_jfif or (marker == 0xEE and payload.startswith(b"Adobe") and len(payload) >= 12)
