"""The laws of the footprint: it is a close upper bound of the memory of decoding, and needs no decoding itself."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.codecs.footprint import BANDS_BYTES, OVERHEAD_BYTES, decode_bytes
from pixelmill.workers.codecs.pixels import BAND_BYTES
from pixelmill.workers.errors import RowError
from tests.corpus import encode, faded, image_items, photo, png, png_bomb

REPOSITORY = Path(__file__).parents[3]
SIDE = 1200
MOST_TIMES = 3  # what a bound may be of the measured peak, once the fixed overhead is taken off

TURNED = b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"  # orientation 6

# Reads (path, ...) from argv, decodes each, and prints the growth of its memory at the peak. Linux forgets the peak so far
# when 5 is written to clear_refs. What is decoded first loads plugins and makes tables. Linux counts pages in batches for each
# core and may miss a tenth of a small peak: the largest of three counts, and never less than the pixels that were returned.
MEASURE = """
import json, sys
from pixelmill.workers.codecs import turbo_jpeg
from pixelmill.workers.codecs.decode import decode_picture
def kilobytes(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name))
def peak(data):
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = kilobytes("VmRSS")
    pixels = decode_picture(data, max_pixels=2**28)
    return max(1024 * (kilobytes("VmHWM") - before), pixels.nbytes)
if sys.argv[1] == "by Pillow":
    turbo_jpeg.simplejpeg = None
small, *large = (open(path, "rb").read() for path in sys.argv[2:])
decode_picture(small)
print(json.dumps([max(peak(data) for _ in range(3)) for data in large]))
"""


def square(mode: str) -> Image.Image:
    if mode == "RGBA":
        return faded().resize((SIDE, SIDE))
    return photo("coffee", SIDE, SIDE).convert(mode)


def large_pictures() -> dict[str, bytes]:
    """Name -> one picture of SIDE x SIDE."""
    rgb, grey, rgba = square("RGB"), square("L"), square("RGBA")
    palette = rgb.quantize(64)
    options: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
        "jpeg": (rgb, "JPEG", {}),
        "jpeg_turned": (rgb, "JPEG", {"exif": TURNED}),
        "jpeg_grey": (grey, "JPEG", {}),
        "jpeg_cmyk": (rgb.convert("CMYK"), "JPEG", {}),
        "jpeg_progressive": (rgb, "JPEG", {"progressive": True, "subsampling": 0}),
        "jpeg_progressive_grey": (grey, "JPEG", {"progressive": True}),
        "png": (rgb, "PNG", {"compress_level": 1}),
        "png_black": (Image.new("RGB", (SIDE, SIDE)), "PNG", {}),
        "png_palette": (palette, "PNG", {"compress_level": 1, "transparency": 3}),
        "png_alpha": (rgba, "PNG", {"compress_level": 1}),
        "png_16_bit": (Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "PNG", {"compress_level": 1}),
        "webp": (rgb, "WEBP", {"method": 0}),
        "webp_lossless": (rgb, "WEBP", {"lossless": True, "method": 0, "quality": 0}),
        "webp_alpha": (rgba, "WEBP", {"method": 0}),
        "webp_animated": (rgb, "WEBP", {"method": 0, "save_all": True, "append_images": [rgb.rotate(90)]}),
        "gif": (palette, "GIF", {"transparency": 3}),
        "bmp": (rgb, "BMP", {}),
        "bmp_palette": (palette, "BMP", {}),
        "tiff": (rgb, "TIFF", {}),
        "tiff_lzw": (rgb, "TIFF", {"compression": "tiff_lzw"}),
        "avif": (rgb, "AVIF", {"speed": 10}),
        "avif_alpha": (rgba, "AVIF", {"speed": 10, "subsampling": "4:4:4"}),
        "jpeg_2000": (rgb, "JPEG2000", {}),
        "jpeg_2000_tiled": (rgb, "JPEG2000", {"tile_size": (256, 256)}),
    }
    pictures = {name: encode(picture, kind, **more) for name, (picture, kind, more) in options.items()}
    return pictures | {name: tiff(values, **more) for name, (values, more) in large_tiffs(np.asarray(rgba)).items()}


def large_tiffs(rgba_HWC: np.ndarray) -> dict[str, tuple[np.ndarray, dict[str, Any]]]:
    """Layouts that Pillow reads, and such as it does not."""
    deep_HWC, planes_CHW = rgba_HWC.astype(np.uint16) * 257, rgba_HWC[..., :3].transpose(2, 0, 1)
    return {
        "tiff_tiled": (rgba_HWC[..., :3], {"tile": (256, 256), "compression": "zlib"}),
        "tiff_16_bit_rgb": (deep_HWC[..., :3], {}),
        "tiff_16_bit_planes": (
            np.ascontiguousarray(deep_HWC[..., :3].transpose(2, 0, 1)),
            {"planarconfig": "separate"},
        ),
        "tiff_16_bit_rgba": (deep_HWC, {"extrasamples": ["unassalpha"]}),
        "tiff_big_endian": (planes_CHW, {"planarconfig": "separate", "byteorder": ">", "bigtiff": True}),
        "tiff_16_bit_grey": (deep_HWC[..., 0], {"photometric": "miniswhite"}),
        "tiff_lab": (rgba_HWC[..., :3], {"photometric": "cielab"}),
    }


def tiff(values: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **{"photometric": "rgb", "metadata": None, **options})
    return file.getvalue()


def peaks(folder: Path, pictures: list[bytes], jpegs: str = "by itself") -> list[int]:
    """What each decode takes at its peak, in bytes, measured in one process of its own."""
    paths = [folder / str(number) for number in range(len(pictures) + 1)]
    first = encode(photo(), exif=TURNED)
    for path, data in zip(paths, [first, *pictures], strict=True):
        path.write_bytes(data)
    command = [sys.executable, "-c", MEASURE, jpegs, *map(str, paths)]
    # freed memory returns to the system at once: peaks are of what is in use, whatever was decoded before
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_the_footprint_is_one_to_three_times_the_memory_of_a_decode(tmp_path: Path) -> None:
    pictures = large_pictures()
    bounds = [decode_bytes(data) for data in pictures.values()]
    measured = peaks(tmp_path, list(pictures.values()))
    rows = list(zip(pictures, bounds, measured, strict=True))
    assert [row for row in rows if row[1] < row[2]] == []
    assert [row for row in rows if row[1] - OVERHEAD_BYTES > MOST_TIMES * row[2]] == []


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_the_footprint_of_a_jpeg_bounds_what_pillow_takes_for_it(tmp_path: Path) -> None:
    """Broken and odd files are read by Pillow, which takes more."""
    pictures = {name: data for name, data in large_pictures().items() if name.startswith("jpeg")}
    pictures |= {f"small {mode}": encode(square(mode).resize((560, 560))) for mode in ("RGB", "L", "CMYK")}
    pictures["large and turned"] = encode(photo("coffee", 3000, 2000), exif=TURNED)
    bounds = [decode_bytes(data) for data in pictures.values()]
    measured = peaks(tmp_path, list(pictures.values()), "by Pillow")
    rows = list(zip(pictures, bounds, measured, strict=True))
    assert [row for row in rows if row[1] < row[2]] == []


def test_two_bands_are_counted_as_large_as_they_are() -> None:
    assert BANDS_BYTES == 2 * BAND_BYTES


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_the_footprint_bounds_pictures_of_one_column_and_one_row(tmp_path: Path) -> None:
    thin = [png(1, 2**20, 8, 0, [b"\x7f"] * 2**20), png(2**20, 1, 8, 0, [b"\x7f" * 2**20])]
    bounds = [decode_bytes(data) for data in thin]
    assert all(bound >= peak for bound, peak in zip(bounds, peaks(tmp_path, thin), strict=True))


def test_a_header_alone_reveals_gigabytes() -> None:
    """None of these has a pixel that could be decoded, so nothing but the header was looked at."""
    lossless = struct.pack("<BI", 0x2F, (16383 - 1) | (16383 - 1) << 14)
    webp = b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8L" + struct.pack("<I", 18) + lossless + bytes(13)
    assert decode_bytes(webp) > 16383**2 * (4 + 8 + 4)
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff\x2c\0" * 2
    assert decode_bytes(b"RIFF" + struct.pack("<I", 22) + b"WEBP" + canvas) > 11520**2 * (4 + 8)
    assert decode_bytes(png_bomb(13_377)) > 13_377**2 * (1 + 4 + 6)
    wide = bytearray(encode(photo(), progressive=True, subsampling=0))
    at = wide.index(b"\xff\xc2") + 5
    wide[at : at + 4] = struct.pack(">HH", 20_000, 20_000)
    assert decode_bytes(bytes(wide)) > 20_000**2 * (4 + 3 + 6)  # three planes of coefficients of 2 bytes


def test_a_coefficient_of_every_sample_is_counted() -> None:
    grey, half, full = (
        decode_bytes(encode(picture, progressive=True, **more))
        for picture, more in (
            (photo(width=800, height=800).convert("L"), {}),
            (photo(width=800, height=800), {"subsampling": 2}),
            (photo(width=800, height=800), {"subsampling": 0}),
        )
    )
    assert full - half == pytest.approx(800 * 800 * 3, rel=0.05)  # two planes in full instead of by a quarter
    assert half > grey


@pytest.mark.parametrize("item", image_items(), ids=lambda item: ascii(item.name)[:60])
def test_a_picture_has_a_footprint_if_and_only_if_it_can_be_decoded(item: Any) -> None:
    refusal = refused(decode_bytes, item.data)
    assert refusal in (None, refused(decode_picture, item.data))
    if refusal is None:
        assert decode_bytes(item.data) > OVERHEAD_BYTES


def refused(reads: Callable[[bytes], Any], data: bytes) -> tuple[str, str] | None:
    """Stage and type of the error, None where there is none."""
    try:
        reads(data)
    except RowError as error:
        return error.stage, error.error_type
    return None


def test_the_footprint_is_computed_without_torch() -> None:
    program = (
        "import sys; from pixelmill.workers.codecs.footprint import decode_bytes; "
        "print({'torch', 'PIL', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
