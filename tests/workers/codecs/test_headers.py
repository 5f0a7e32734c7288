"""A header gives the size of a picture, or the reason why its bytes are not one, without reading a pixel."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixelmill.workers.codecs import headers
from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.codecs.footprint import decode_bytes
from pixelmill.workers.errors import RowError
from tests.corpus import encode, faded, photo
from tests.workers.fates import fate

WIDTH, HEIGHT = 70, 53


def pillow_writes(file_format: str, mode: str = "RGB", **options: Any) -> bytes:
    picture = faded() if mode == "RGBA" else photo().convert(mode)
    return encode(picture.resize((WIDTH, HEIGHT)), file_format, **options)


def jpeg_frame(data: bytes) -> headers.JpegFrame:
    for marker, _, payload, end in headers.jpeg_segments(data):
        if marker in headers.JPEG_FRAMES:
            return headers.jpeg_frame(marker, data[payload:end])
    raise AssertionError("no frame header")


def png_header(data: bytes) -> headers.PngHeader:
    _, _, payload, end = next(headers.png_chunks(data))
    return headers.png_header(data[payload:end])


def many_scans(scans: int, side: int = 64) -> bytes:
    """A progressive JPEG that repeats its last scan."""
    jpeg = encode(photo(width=side, height=side).convert("L"), progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:-2] + jpeg[last:-2] * (scans - jpeg.count(b"\xff\xda")) + jpeg[-2:]


@pytest.mark.parametrize("junk", [b"", b"\xff", b"\xff" * 5, b"\0\0", b"ab", b"\xff\0", b"a\xff\0b\xff"], ids=ascii)
def test_segments_are_found_behind_junk_and_fill_bytes(junk: bytes) -> None:
    jpeg = encode(photo(width=40, height=30))
    found = [(marker, jpeg[start:end]) for marker, start, _, end in headers.jpeg_segments(jpeg)]
    head = b"".join(junk + segment for _, segment in found)
    changed = jpeg[:2] + head + jpeg[2 + sum(len(segment) for _, segment in found) :]
    again = [
        (marker, changed[end - len(segment) : end])
        for (marker, _, _, end), (_, segment) in zip(headers.jpeg_segments(changed), found, strict=True)
    ]
    assert again == found
    assert [marker for marker, _ in found][-1] == 0xDA


@pytest.mark.parametrize("cut", [b"", b"\xff", b"\xff\xff", b"\xff\0", b"ab"], ids=ascii)
def test_a_jpeg_that_stops_before_its_scan_is_truncated(cut: bytes) -> None:
    with pytest.raises(RowError, match="stops before the first scan") as caught:
        list(headers.jpeg_segments(b"\xff\xd8" + cut))
    assert caught.value.error_type == "Truncated"


def test_a_jpeg_of_very_many_scans_is_refused_before_it_is_decoded() -> None:
    assert fate(many_scans(500)) == ("good", (64, 64))
    for reads in (decode_picture, decode_bytes):
        with pytest.raises(RowError, match=r"64 x 64 pixels in 501 scans") as caught:
            reads(many_scans(501))
        assert caught.value.error_type == "UnsupportedFormat"


def test_scans_are_counted_against_the_pixels_that_each_of_them_visits() -> None:
    wide = bytearray(many_scans(100))
    at = wide.index(b"\xff\xc2") + 5
    wide[at : at + 4] = struct.pack(">HH", 10_000, 10_000)
    assert fate(bytes(wide))[0] == "UnsupportedFormat"  # 100 scans of 100 megapixels
    assert decode_bytes(encode(photo(width=64, height=64), progressive=True)) > 0


@pytest.mark.parametrize(
    ("reads", "file_format", "options"),
    [
        (jpeg_frame, "JPEG", {}),
        (png_header, "PNG", {}),
        (headers.webp_header, "WEBP", {}),
        (headers.webp_header, "WEBP", {"lossless": True}),
        (headers.webp_header, "WEBP", {"mode": "RGBA"}),
        (headers.gif_size, "GIF", {}),
        (headers.bmp_header, "BMP", {}),
        (headers.heif_size, "AVIF", {"speed": 10}),
        (headers.jpeg2000_header, "JPEG2000", {}),
        (headers.jpeg2000_header, "JPEG2000", {"no_jp2": True}),
    ],
)
def test_a_header_has_the_size_that_was_written(
    reads: Callable[[bytes], Any], file_format: str, options: dict[str, Any]
) -> None:
    found = reads(pillow_writes(file_format, **options))
    assert (found if isinstance(found, tuple) else (found.width, found.height)) == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("options", "sampling", "blocks"),
    [
        ({"mode": "L"}, ((1, 1),), 9 * 7),
        ({"subsampling": 0}, ((1, 1),) * 3, 3 * 9 * 7),
        ({"subsampling": 2}, ((2, 2), (1, 1), (1, 1)), (4 + 1 + 1) * 5 * 4),  # of each 16 x 16 px
    ],
)
def test_a_jpeg_keeps_64_coefficients_for_each_block_of_each_component(
    options: dict[str, Any], sampling: tuple[tuple[int, int], ...], blocks: int
) -> None:
    frame = jpeg_frame(pillow_writes("JPEG", **options))
    assert frame.sampling == sampling
    assert frame.coefficient_bytes() == blocks * 64 * 2


@pytest.mark.parametrize(
    ("is_progressive", "channels", "has_one"), [(False, 3, True), (False, 1, False), (True, 3, False)]
)
def test_only_a_sequential_jpeg_of_all_components_in_a_scan_has_one_scan(
    is_progressive: bool, channels: int, has_one: bool
) -> None:
    assert jpeg_frame(pillow_writes("JPEG", progressive=is_progressive)).has_one_scan(channels) is has_one


def test_a_row_of_a_png_is_its_bits_and_the_byte_of_its_filter() -> None:
    grey, rgba, two = (png_header(pillow_writes("PNG", mode)) for mode in ("L", "RGBA", "1"))
    assert (grey.row_bytes, rgba.row_bytes, two.row_bytes) == (1 + 70, 1 + 4 * 70, 1 + 9)
    deep = Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint16))
    assert png_header(encode(deep, "PNG")).row_bytes == 1 + 2 * 70


def test_webp_headers_have_the_flags_of_alpha_and_animation() -> None:
    frames = [photo(width=WIDTH, height=HEIGHT).rotate(turn) for turn in (0, 90)]
    moving = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    plain, faint = (pillow_writes("WEBP", mode) for mode in ("RGB", "RGBA"))
    found = [headers.webp_header(data) for data in (plain, faint, moving)]
    assert [(each.has_alpha, each.is_animated) for each in found] == [(False, False), (True, False), (False, True)]
    lossless = (pillow_writes("WEBP", mode, lossless=True) for mode in ("RGB", "RGBA"))
    assert [headers.webp_header(data).has_alpha for data in lossless] == [False, True]


def test_a_bmp_of_rows_from_above_has_a_negative_height_and_the_same_size() -> None:
    data = bytearray(pillow_writes("BMP"))
    struct.pack_into("<i", data, 22, -HEIGHT)
    assert headers.bmp_header(bytes(data)) == headers.BmpHeader(WIDTH, HEIGHT, 24)
    struct.pack_into("<i", data, 18, -WIDTH)
    with pytest.raises(RowError, match="its header says -70 x -53 pixels"):
        headers.bmp_header(bytes(data))


def test_a_heif_is_as_large_as_the_largest_picture_in_it() -> None:
    extents = [
        b"\0\0\0\x14ispe" + bytes(4) + struct.pack(">II", *size) for size in ((512, 512), (3000, 40), (160, 120))
    ]
    assert headers.heif_size(b"".join(extents)) == (512, 512)
    assert headers.heif_size(extents[2] + extents[1]) == (3000, 40)


def test_a_tile_of_jpeg_2000_is_no_larger_than_its_picture() -> None:
    tiled, whole = (headers.jpeg2000_header(pillow_writes("JPEG2000", tile_size=(side, side))) for side in (32, 64 * 4))
    assert (tiled.tile_width, tiled.tile_height, tiled.channels) == (32, 32, 3)
    assert (whole.tile_width, whole.tile_height) == (WIDTH, HEIGHT)


SOI = b"\xff\xd8"


@pytest.mark.parametrize(
    ("reads", "data", "error_type", "words"),
    [
        (jpeg_frame, SOI, "Truncated", "stops before the first scan"),
        (jpeg_frame, SOI + b"\xff\xd9", "Corrupt", "an end but no scan"),
        (jpeg_frame, SOI + b"\xff\xe0\0\x10", "Truncated", "segment FFE0 runs past the end"),
        (jpeg_frame, SOI + b"\xff\xe0\0\1" + bytes(9), "Corrupt", "segment FFE0 has a length below 2"),
        (jpeg_frame, SOI + b"\xff\xc0\0\5\x08\0\1", "Corrupt", "frame header is too short"),
        (jpeg_frame, SOI + b"\xff\xc3\0\x0b\x08\0\1\0\1\1\1\x11\0", "UnsupportedFormat", "lossless or hierarchical"),
        (jpeg_frame, SOI + b"\xff\xc0\0\x0b\x0c\0\1\0\1\1\1\x11\0", "UnsupportedFormat", "12-bit JPEG"),
        (jpeg_frame, SOI + b"\xff\xc0\0\x0b\x08\0\0\0\1\1\1\x11\0", "Corrupt", "1 x 0 pixels"),
        (jpeg_frame, SOI + b"\xff\xc0\0\x0b\x08\0\1\0\1\1\1\x51\0", "Corrupt", "impossible components"),
        (png_header, b"\x89PNG\r\n\x1a\n", "Truncated", "no IEND chunk"),
        (png_header, bytes(12) + b"CgBI" + bytes(9), "UnsupportedFormat", "iOS PNG"),
        (png_header, bytes(8) + b"\0\0\0\0IDAT" + bytes(4), "Corrupt", "out of place"),
        (png_header, bytes(8) + b"\0\0\0\x0dIHDR" + bytes(4), "Truncated", "IHDR at byte 8 runs past the end"),
        (png_header, bytes(8) + b"\0\0\0\0IHDR" + bytes(4), "Corrupt", "IHDR chunk is too short"),
        (headers.webp_header, b"RIFF\x20\0\0\0WEBPVP8 ", "Truncated", "shorter than its RIFF header says"),
        (headers.webp_header, b"RIFF\x04\0\0\0WEBPALPH", "Corrupt", "first chunk is no picture"),
        (headers.gif_size, b"GIF89a\1\0", "Truncated", "stops in its header"),
        (headers.gif_size, b"GIF89a\1\0\0\0" + bytes(3), "Corrupt", "1 x 0 pixels"),
        (headers.bmp_header, b"BM".ljust(14, b"\0") + b"\x28\0\0\0", "Truncated", "stops in its header"),
        (headers.heif_size, b"ftypavif", "Corrupt", "no property of it states a size"),
        (headers.jpeg2000_header, b"jP  ", "Corrupt", "no codestream is in it"),
        (headers.jpeg2000_header, b"\xff\x4f\xff\x51" + bytes(9), "Truncated", "stops in its header"),
        (headers.jpeg2000_header, b"\xff\x4f\xff\x51" + bytes(40), "Corrupt", "0 x 0 pixels"),
    ],
)
def test_an_impossible_header_is_refused_with_the_fault(
    reads: Callable[[bytes], Any], data: bytes, error_type: str, words: str
) -> None:
    with pytest.raises(RowError, match=words) as caught:
        reads(data)
    assert caught.value.error_type == error_type


def test_every_chunk_of_a_png_follows_the_one_before() -> None:
    data = pillow_writes("PNG")
    chunks = list(headers.png_chunks(data))
    assert [kind for kind, *_ in chunks if kind != b"IDAT"] == [b"IHDR", b"IEND"]
    assert [start for _, start, _, _ in chunks] == [8, *(end for *_, end in chunks[:-1])]
    assert chunks[-1][3] == len(data)
    with pytest.raises(RowError, match="b'IHDR' at byte 33 is out of place"):
        list(headers.png_chunks(data[:33] + data[8:]))
