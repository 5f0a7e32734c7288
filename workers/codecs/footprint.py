"""Estimate from a picture's header how much memory its decoding takes, before anything is decoded.

A file of a few bytes may hold hundreds of megapixels, and a decoder may hold several copies of them. `decode_bytes` bounds the
peak memory of `decode_picture` beyond the input itself, including the tensor that it returns, so that a worker can admit each
picture against a budget.

The bound is the sum of the decoder's memory and of the copies on the way to a tensor, each in bytes for each pixel. Pillow
stores 1 byte a pixel (grey, palette), 2 (16-bit grey) or 4 (other modes). Bounds are 1 to 3 times the measured peak; a decoder's
fixed tables (under OVERHEAD_BYTES) have a larger share in small pictures.

The bound excludes what no header states: a lossless WebP may have tens of thousands of Huffman codes (0.6 GB at worst), and the
picture in an AVIF or HEIC may be larger than its container states.
"""

from __future__ import annotations

from collections.abc import Callable

from pixelmill.workers.codecs import headers, tiff_layout
from pixelmill.workers.codecs.exif import exif_orientation
from pixelmill.workers.codecs.signatures import PictureFormat, find_format

OVERHEAD_BYTES = 2**21  # tables, buffers of single rows, Python objects
BANDS_BYTES = 2**21  # two copies of a band of a large picture (pixels.py, which imports torch)

# Bytes a pixel on the way from a picture to a tensor, the picture itself not counted: copies that exist at one time.
# A tensor takes 3, and is turned upright by two copies (2 x 3); the bands that it is made from are small.
_FROM_RGB = 9
_FROM_OTHER = 9  # an RGB copy, 4 bytes in Pillow, is gone before the tensor is turned
_FROM_16_BIT_GREY = 2 + 4 + 6  # the high byte, twice, before that
_FROM_ALPHA = 4 * 4  # RGBA, white, both composed, RGB


def decode_bytes(data: bytes) -> int:
    """An upper bound of the peak memory of `decode_picture(data)` in bytes, without `data`.

    Raises RowError, as `decode_picture` does, if the header already shows that the input can't be decoded. Reads only the
    header (and counts the scans of a JPEG that has several): under 50 microseconds for most pictures.
    """
    return _FOOTPRINTS[find_format(data)](data) + OVERHEAD_BYTES


def _picture(width: int, height: int, pixel_bytes: int, *, decoder: int, tail: int, kept: int = 0) -> int:
    """The peak of a picture of `pixel_bytes` a pixel in Pillow, all numbers but the size in bytes a pixel.

    `decoder` is what exists while it is decoded, `kept` what of that stays alive behind it, `tail` what is made then.
    """
    rows = height * (-(-width * pixel_bytes // 4) * 4 - width * pixel_bytes + 8)  # padding, and a pointer to each
    return width * height * (pixel_bytes + max(decoder, kept + tail)) + 5 * rows


def _jpeg(data: bytes) -> int:
    frame: headers.JpegFrame | None = None
    is_turned = False
    for marker, _, payload, end in headers.jpeg_segments(data):
        if marker in headers.JPEG_FRAMES:
            frame = headers.jpeg_frame(marker, data[payload:end])
        elif marker == 0xE1 and data.startswith(b"Exif\0\0", payload):
            is_turned = exif_orientation(data[payload + 6 : end]) != 1
        elif marker == 0xDA and frame is not None:
            coded = _jpeg_coefficients(data, frame, payload, end)
            return len(data) + coded + _jpeg_pixels(frame, is_turned=is_turned)
    raise headers.corrupt("it has no frame header")


def _jpeg_pixels(frame: headers.JpegFrame, *, is_turned: bool) -> int:
    """As Pillow makes them, which reads what is broken; pixels that libjpeg-turbo writes into the tensor take 3 bytes."""
    pixels, channels = frame.width * frame.height, len(frame.sampling)
    pixel_bytes = 1 if channels == 1 else 4
    tensor = 3 if channels in (1, 3) else 3 + 4  # other colours become RGB first
    made = _picture(frame.width, frame.height, pixel_bytes, decoder=0, tail=tensor) + min(6 * pixels, BANDS_BYTES)
    turned = _picture(frame.width, frame.height, pixel_bytes, decoder=0, tail=_FROM_RGB) if is_turned else 0
    return max(made, turned) + 100 * frame.width


def _jpeg_coefficients(data: bytes, frame: headers.JpegFrame, payload: int, end: int) -> int:
    """What a file of several scans takes; it is freed before the copies, but in pieces that the heap keeps."""
    if frame.has_one_scan(data[payload]):
        return 0
    headers.check_jpeg_scans(data, frame, end, headers.jpeg_end(data, end))
    return frame.coefficient_bytes() + len(data)


def _png(data: bytes) -> int:
    for kind, _, payload, end in headers.png_chunks(data):
        if kind == b"IHDR":
            header = headers.png_header(data[payload : end - 4])
            break
    else:
        raise headers.corrupt("it has no IHDR chunk")
    # every kind may have a transparent colour; of 16-bit grey it is made alpha before the rest
    pixel_bytes = 1 if header.colour in (0, 3) and header.bits < 16 else 4
    return _picture(header.width, header.height, pixel_bytes, decoder=0, tail=_FROM_ALPHA) + 2 * len(data)


def _webp(data: bytes) -> int:
    """Two canvases of RGBA in the decoder, a frame beside them; then the bytes of one canvas are copied out of it."""
    header = headers.webp_header(data)
    tail = _FROM_ALPHA if header.has_alpha else _FROM_RGB
    return _picture(header.width, header.height, 4, decoder=8 + 5, kept=8 + 4, tail=tail) + 2 * len(data)


def _gif(data: bytes) -> int:
    width, height = headers.gif_size(data)
    return _picture(width, height, 1, decoder=1, tail=_FROM_ALPHA)


def _bmp(data: bytes) -> int:
    header = headers.bmp_header(data)
    pixel_bytes = 1 if header.bits <= 8 else 4
    tail = _FROM_ALPHA if header.bits == 32 else _FROM_OTHER
    return _picture(header.width, header.height, pixel_bytes, decoder=3, tail=tail)


def _tiff(data: bytes) -> int:
    layout = tiff_layout.read_layout(data)
    is_grey = layout.colours == 1
    in_colour = _FROM_RGB if layout.samples == 3 else _FROM_ALPHA
    tail = _FROM_16_BIT_GREY if is_grey else in_colour
    if tiff_layout.is_for_pillow(layout):
        grey_bytes = 2 if layout.bits > 8 else 1
        pixel_bytes = grey_bytes if is_grey else 4
        decoder = 2 * layout.segment_bytes  # as it lies in the file, and decompressed
        if layout.photometric == tiff_layout.YCBCR:
            decoder += 4 * layout.segment_width * layout.segment_height  # libtiff makes RGBA of it
    else:
        pixel_bytes, tail = 4, _FROM_ALPHA
        samples = layout.width * layout.height * layout.samples * (3 if layout.bits > 8 else 2)  # and their high bytes
        decoder = samples + max(4 * layout.segment_bytes, 8 * layout.width * layout.height)  # then the picture, twice
    copied = _picture(layout.width, layout.height, pixel_bytes, decoder=0, tail=tail)
    return max(copied, _picture(layout.width, layout.height, pixel_bytes, decoder=0, tail=0) + decoder) + len(data)


def _avif(data: bytes) -> int:
    width, height = headers.heif_size(data)
    return _picture(width, height, 4, decoder=24, kept=12, tail=_FROM_ALPHA) + 2 * len(data)


def _jpeg2000(data: bytes) -> int:
    """OpenJPEG works in 32 bits a sample, of one tile at a time, and Pillow takes the tile over in a buffer of its own."""
    header = headers.jpeg2000_header(data)
    tile = header.tile_width * header.tile_height * header.channels * (4 + 4 + 2)
    return _picture(header.width, header.height, 4, decoder=0, tail=_FROM_ALPHA) + tile + 2 * len(data)


_FOOTPRINTS: dict[PictureFormat, Callable[[bytes], int]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "WebP": _webp,
    "GIF": _gif,
    "BMP": _bmp,
    "TIFF": _tiff,
    "AVIF": _avif,
    "HEIC": _avif,
    "JPEG 2000": _jpeg2000,
}
