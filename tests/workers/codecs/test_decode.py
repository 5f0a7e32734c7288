"""The laws of decoding: every input has one fate, an upright RGB picture or a reason."""

from __future__ import annotations

import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pixelmill.workers.codecs.decode import decode_picture
from tests.corpus import Item, encode, photo
from tests.workers.fates import ITEMS, fate

REPOSITORY = Path(__file__).parents[3]


@pytest.mark.parametrize("item", ITEMS.values(), ids=lambda item: ascii(item.name)[:60])
def test_every_input_has_exactly_its_fate(item: Item) -> None:
    assert fate(item.data) == (item.expected, item.size)


def test_no_input_makes_a_warning_escape() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for item in ITEMS.values():
            fate(item.data)
    assert [str(warning.message) for warning in caught] == []


def test_threads_decode_the_same_pixels_as_one_thread() -> None:
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(fate, [item.data for item in ITEMS.values()] * 3))
    assert together == [(item.expected, item.size) for item in ITEMS.values()] * 3


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000"])
def test_max_pixels_is_the_largest_picture_that_is_decoded(file_format: str) -> None:
    data = encode(photo(width=40, height=30), file_format)
    assert fate(data, max_pixels=1200) == ("good", (40, 30))
    assert fate(data, max_pixels=1199) == ("TooManyPixels", None)


def test_too_many_pixels_are_refused_by_the_header_alone() -> None:
    jpeg, image, gif = (encode(photo(width=40, height=30), file_format) for file_format in ("JPEG", "PNG", "GIF"))
    canvas = bytearray(ITEMS["damaged/bomb.webp"].data)  # a header without a frame
    canvas[24:30] = b"\x27\0\0\x1d\0\0"
    for header in (jpeg[: jpeg.index(b"\xff\xc0") + 19], image[:45], gif[:13], bytes(canvas)):
        assert fate(header, max_pixels=1199)[0] == "TooManyPixels"
        assert fate(header, max_pixels=1200)[0] in ("Truncated", "Corrupt")


def test_bombs_are_refused_at_once_and_without_memory(tmp_path: Path) -> None:
    names = [name for name in ITEMS if name.startswith("damaged/bomb")]
    paths = [tmp_path / str(number) for number in range(len(names))]
    for name, path in zip(names, paths, strict=True):
        path.write_bytes(ITEMS[name].data)
    program = (
        "import resource, sys, time\n"
        "from pixelmill.workers.codecs.decode import decode_picture\n"
        "from pixelmill.workers.errors import RowError\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for data in [open(path, 'rb').read() for path in sys.argv[1:]]:\n"
        "    before, start = peak(), time.perf_counter()\n"
        "    try: decode_picture(data)\n"
        "    except RowError as error: print(error.error_type, peak() - before, time.perf_counter() - start)\n"
    )
    command = [sys.executable, "-c", program, *map(str, paths)]
    answer = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    rows = [line.split() for line in answer.stdout.splitlines()]
    assert [row[0] for row in rows] == ["TooManyPixels"] * len(names)
    assert max(int(kilobytes) for _, kilobytes, _ in rows) < 10_000
    assert max(float(seconds) for _, _, seconds in rows) < 0.5


def test_a_flat_picture_is_whole() -> None:
    for file_format in ("JPEG", "PNG"):
        for colour in ("black", "white", "gray"):
            data = encode(Image.new("RGB", (333, 251), colour), file_format)
            assert fate(data) == ("good", (333, 251))


@pytest.mark.parametrize("name", [name for name in ITEMS if name.startswith("metadata/")], ids=str)
def test_metadata_changes_no_pixel(name: str) -> None:
    extension = name.rpartition(".")[2]
    plain = {"jpg": encode(photo(), quality=90), "png": encode(photo(), "PNG"), "webp": encode(photo(), "WEBP")}
    expected_CHW = decode_picture(plain.get(extension, encode(photo(), "TIFF")))
    assert torch.equal(decode_picture(ITEMS[name].data), expected_CHW)


BASES = [
    encode(photo(width=48, height=40), "JPEG"),
    encode(photo(width=48, height=40), "JPEG", progressive=True, restart_marker_blocks=2, exif=Image.Exif()),
    encode(photo(width=48, height=40).convert("CMYK"), "JPEG"),
    encode(photo(width=48, height=40), "PNG"),
    encode(photo(width=48, height=40).quantize(16), "PNG", transparency=3),
    encode(photo(width=48, height=40), "WEBP"),
    encode(photo(width=48, height=40), "GIF"),
    encode(photo(width=48, height=40), "BMP"),
    encode(photo(width=48, height=40), "TIFF", compression="tiff_lzw"),
    encode(photo(width=48, height=40).convert("RGBA"), "TIFF"),
    encode(photo(width=48, height=40), "AVIF", speed=10),
    encode(photo(width=48, height=40), "JPEG2000"),
]


PLACES = st.one_of(st.integers(0, 300), st.integers(0, 4000))


EDITS = st.lists(
    st.tuples(PLACES, st.binary(max_size=4), st.sampled_from(["overwrite", "insert", "delete"])), max_size=6
)


@settings(deadline=None, max_examples=600)
@given(base=st.sampled_from(BASES), edits=EDITS, cut=st.one_of(st.none(), PLACES))
def test_a_mutated_image_is_pixels_or_a_row_error_and_nothing_else(
    base: bytes, edits: list[tuple[int, bytes, str]], cut: int | None
) -> None:
    data = bytearray(base)
    for place, patch, how in edits:
        data[place : place + (0 if how == "insert" else len(patch))] = b"" if how == "delete" else patch
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        first = fate(bytes(data[:cut]), max_pixels=10**6)
    assert caught == []
    assert fate(bytes(data[:cut]), max_pixels=10**6) == first


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=2000))
def test_any_bytes_are_pixels_or_a_row_error(data: bytes) -> None:
    fate(data, max_pixels=10**6)
