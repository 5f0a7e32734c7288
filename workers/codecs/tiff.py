"""Read TIFF with Pillow, or with this module if Pillow can't: 12 bits, planes of 16 bits, big-endian BigTIFF ...

This module lets a library decompress each strip or tile: libtiff, through Pillow, for byte streams (LZW, Deflate, Zstandard,
LZMA, PackBits), and Pillow's decoder of the format if a segment is a complete picture (JPEG 2000, WebP). numpy converts the bytes
to samples and arranges them, and the samples become the picture that Pillow would return.

Legend: H = height, W = width, S = samples of a pixel.
"""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from pixelmill.workers.codecs import tiff_layout
from pixelmill.workers.codecs.decode_errors import check_size, corrupt
from pixelmill.workers.codecs.pillow import read_without_warnings
from pixelmill.workers.codecs.tiff_layout import TiffLayout

_BITS_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_UNPACKED_AT_ONCE = 2**20  # bits, each of which is a byte for a moment


def read_tiff(data: bytes, max_pixels: int) -> tuple[Image.Image, int]:
    layout = tiff_layout.read_layout(data)
    check_size(layout.width, layout.height, max_pixels)
    try:
        if tiff_layout.is_for_pillow(layout):
            return read_without_warnings(TiffImageFile, data, max_pixels), 1  # Pillow turns a TIFF upright by itself
        return read_layouts_of_our_own(data, layout), layout.orientation
    except OSError:
        tiff_layout.segments(data)  # distinguishes a cut file from a damaged one, which libtiff does not
        raise


def read_layouts_of_our_own(data: bytes, layout: TiffLayout) -> Image.Image:
    """The first page as stored, without applying its orientation; mode L, RGB or RGBA."""
    samples_HWS = _read_samples(data, layout)
    if layout.photometric == tiff_layout.PALETTE:
        colours = _through_palette(samples_HWS[..., 0], data, layout)
    else:
        colours = _to_colours(_to_levels(samples_HWS[..., : layout.colours], layout.bits), layout)
    if layout.alpha is None:
        return colours
    alpha = Image.fromarray(_to_levels(samples_HWS[..., layout.colours], layout.bits))
    return _with_alpha(colours.convert("RGB"), alpha, layout)


# -------------------------------------------------------------------------------------------- from bytes to samples


def _read_samples(data: bytes, layout: TiffLayout) -> np.ndarray:
    """Stored samples, uint8 or uint16 HWS."""
    across, down = -(-layout.width // layout.segment_width), -(-layout.height // layout.segment_height)
    planes = layout.samples if layout.is_planar else 1
    segments = tiff_layout.segments(data)
    if len(segments) < planes * across * down:
        raise corrupt(f"it names {len(segments)} strips or tiles of {planes * across * down}")
    kind = np.uint8 if layout.bits <= 8 else np.uint16
    samples_HWS = np.empty((layout.height, layout.width, layout.samples), kind)
    for number, (offset, length) in enumerate(segments[: planes * across * down]):
        plane, place = divmod(number, across * down)
        top, left = place // across * layout.segment_height, place % across * layout.segment_width
        rows = layout.segment_height if layout.is_tiled else min(layout.segment_height, layout.height - top)
        block_HWS = _read_segment(data[offset : offset + length], layout, rows)
        target_HWS = samples_HWS[top : top + rows, left : left + layout.segment_width]
        target_HWS = target_HWS[..., plane : plane + 1] if layout.is_planar else target_HWS
        target_HWS[:] = block_HWS[: target_HWS.shape[0], : target_HWS.shape[1]]
    return samples_HWS


def _read_segment(stream: bytes, layout: TiffLayout, rows: int) -> np.ndarray:
    """One strip or tile of `rows` rows, HWS."""
    if layout.compression == tiff_layout.JPEG_2000:
        return _read_picture(Jpeg2KImageFile, stream, layout, rows)
    if layout.compression == tiff_layout.WEBP:
        return _read_picture(WebPImageFile, stream, layout, rows)
    stream = _decompress(stream, layout, rows)
    if len(stream) < rows * layout.row_bytes:
        raise corrupt(f"a strip or tile of {rows} rows has {len(stream)} bytes of {rows * layout.row_bytes}")
    samples = 1 if layout.is_planar else layout.samples
    values_HWS = _unpack(stream[: rows * layout.row_bytes], layout, rows).reshape(rows, -1, samples)
    # a predictor has left the difference to the pixel on the left; sums wrap around as differences did
    return np.cumsum(values_HWS, axis=1, dtype=values_HWS.dtype) if layout.predictor == 2 else values_HWS


def _read_picture(
    plugin: type[Jpeg2KImageFile | WebPImageFile], stream: bytes, layout: TiffLayout, rows: int
) -> np.ndarray:
    picture = plugin(io.BytesIO(stream))
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[layout.samples]
    if picture.size != (layout.segment_width, rows):
        raise corrupt(
            f"a strip or tile of {layout.segment_width} x {rows} pixels holds {picture.width} x {picture.height}"
        )
    picture.load()
    return np.asarray(picture.convert(mode)).reshape(rows, layout.segment_width, layout.samples)


def _decompress(stream: bytes, layout: TiffLayout, rows: int) -> bytes:
    if layout.compression == tiff_layout.NONE:
        return stream.translate(_BITS_REVERSED) if layout.fill_order == 2 else stream
    picture = TiffImageFile(io.BytesIO(_as_grey_tiff(stream, layout, rows)))
    picture.load()
    return picture.tobytes()


def _as_grey_tiff(stream: bytes, layout: TiffLayout, rows: int) -> bytes:
    """An 8-bit grey TIFF with one strip, whose pixels are the decompressed bytes of the stream.

    The codecs of TIFF's byte streams are independent of the meaning of the bytes, and libtiff checks only their size.
    """
    entries = [
        *((256, layout.row_bytes), (257, rows), (258, 8), (259, layout.compression), (262, 1)),
        *((266, layout.fill_order), (273, 8 + 2 + 12 * 10 + 4), (277, 1), (278, rows), (279, len(stream))),
    ]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + directory + bytes(4) + stream


def _unpack(stream: bytes, layout: TiffLayout, rows: int) -> np.ndarray:
    """The numbers in rows, each of which starts at a byte boundary."""
    if layout.bits == 8:
        return np.frombuffer(stream, np.uint8)
    if layout.bits == 16:
        return np.frombuffer(stream, np.dtype(f"{layout.order}u2")).astype(np.uint16)
    bytes_HB = np.frombuffer(stream, np.uint8).reshape(rows, layout.row_bytes)
    count = layout.segment_width * (1 if layout.is_planar else layout.samples)
    step = max(1, _UNPACKED_AT_ONCE // (8 * layout.row_bytes))
    pieces = [_unpack_rows(bytes_HB[top : top + step], count, layout.bits) for top in range(0, rows, step)]
    return np.concatenate(pieces)


def _unpack_rows(bytes_HB: np.ndarray, count: int, bits: int) -> np.ndarray:
    """The first `count` numbers of each row, of `bits` bits, the highest bit first."""
    bits_HNb = np.unpackbits(bytes_HB, axis=1, count=count * bits).reshape(len(bytes_HB), count, bits)
    values_HN = np.zeros((len(bytes_HB), count), np.uint8 if bits <= 8 else np.uint16)
    for place in range(bits):
        values_HN = values_HN << 1 | bits_HNb[..., place]
    return values_HN


# ------------------------------------------------------------------------------------------- from samples to colours


def _to_levels(values: np.ndarray, bits: int) -> np.ndarray:
    """0 to 255: the high byte of 16-bit values; values of fewer bits are scaled."""
    if bits >= 8:
        return (values >> (bits - 8)).astype(np.uint8)
    return (values.astype(np.uint16) * 255 // (2**bits - 1)).astype(np.uint8)


def _to_colours(levels_HWS: np.ndarray, layout: TiffLayout) -> Image.Image:
    levels_HWS = np.ascontiguousarray(levels_HWS)
    if layout.photometric == tiff_layout.CMYK:
        return Image.fromarray(levels_HWS, "CMYK").convert("RGB")
    if layout.colours == 1:
        grey_HW = levels_HWS[..., 0]
        return Image.fromarray(255 - grey_HW if layout.photometric == tiff_layout.WHITE_IS_ZERO else grey_HW)
    return Image.fromarray(levels_HWS, "RGB")


def _through_palette(ids_HW: np.ndarray, data: bytes, layout: TiffLayout) -> Image.Image:
    colour_map = np.array(tiff_layout.colour_map(data), np.uint16)
    if colour_map.size != 3 * 2**layout.bits:
        raise corrupt(f"its palette has {colour_map.size // 3} colours of {2**layout.bits}")
    return Image.fromarray((colour_map >> 8).astype(np.uint8).reshape(3, -1).T[ids_HW])


def _with_alpha(colours: Image.Image, alpha: Image.Image, layout: TiffLayout) -> Image.Image:
    picture = colours.copy()
    picture.putalpha(alpha)
    if layout.alpha == tiff_layout.UNASSOCIATED_ALPHA:
        return picture
    # colours are multiplied with alpha already, which Pillow calls RGBa
    return Image.frombytes("RGBa", picture.size, picture.tobytes()).convert("RGBA")
