"""Read PNG with Pillow, without its metadata, and refuse a damaged chunk or a stream that ends early."""

from __future__ import annotations

import io
import zlib
from typing import cast

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from pixelmill.workers.codecs import headers
from pixelmill.workers.codecs.decode_errors import check_size, corrupt, truncated
from pixelmill.workers.codecs.exif import exif_orientation
from pixelmill.workers.codecs.pillow import loaded
from pixelmill.workers.codecs.pixels import high_byte

_PNG_CHUNKS_READ = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf"})


def read_png(data: bytes, max_pixels: int) -> tuple[Image.Image, int]:
    kept, orientation, header = [data[:8]], 1, None
    for kind, start, payload, end in headers.png_chunks(data):
        if kind == b"IHDR":
            header = headers.png_header(data[payload : end - 4])
            check_size(header.width, header.height, max_pixels)
        if kind == b"eXIf":
            orientation = exif_orientation(data[payload : end - 4])
        elif kind in _PNG_CHUNKS_READ:
            _check_png_chunk(data, kind, payload, end)
            kept.append(data[start:end])
    if header is None:
        raise corrupt("it has no IHDR chunk")
    picture = loaded(PngImageFile(io.BytesIO(b"".join(kept))))
    _check_png_stream(picture, header, kept)
    return _with_key_to_scale(picture, header), orientation


def _check_png_chunk(data: bytes, kind: bytes, payload: int, end: int) -> None:
    if zlib.crc32(memoryview(data)[payload - 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
        raise corrupt(f"the checksum of its chunk {kind.decode()} at byte {payload - 8} does not match")


def _check_png_stream(picture: Image.Image, header: headers.PngHeader, chunks: list[bytes]) -> None:
    """Refuse a stream that ends before the last row: Pillow leaves such rows at 0 without an error."""
    width, height = picture.size
    if header.is_interlaced or picture.crop((0, height - 1, width, height)).getbbox() is not None:
        return
    inflater, missing = zlib.decompressobj(), height * header.row_bytes
    for chunk in chunks:
        if chunk.startswith(b"IDAT", 4):
            for at in range(8, len(chunk) - 4, 4096):  # in pieces; otherwise all rows would be in memory twice
                missing -= len(inflater.decompress(chunk[at : min(at + 4096, len(chunk) - 4)]))
                if missing <= 0:
                    return
    raise truncated("its pixels stop before the last row")


def _with_key_to_scale(picture: Image.Image, header: headers.PngHeader) -> Image.Image:
    """The picture with its transparent colour scaled to the levels of its pixels; Pillow leaves it unscaled.

    16-bit RGB keeps only the high bytes, so colours that differ only in their low bytes become equal.
    """
    key = picture.info.get("transparency")
    if header.bits in (2, 4) and header.colour == 0 and isinstance(key, int):
        picture.info["transparency"] = key * 255 // (2**header.bits - 1)
    elif header.bits == 16 and isinstance(key, int):
        covers = Image.fromarray(np.where(np.asarray(picture) == key, np.uint8(0), np.uint8(255)))
        return Image.merge("LA", (high_byte(picture), covers))
    elif header.bits == 16 and isinstance(key, tuple):
        picture.info["transparency"] = tuple(level >> 8 for level in cast("tuple[int, ...]", key))
    return picture
