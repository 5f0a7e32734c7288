"""The layout in a TIFF's first directory is read as written, and unsupported layouts are refused by name."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tifffile

from pixelmill.workers.codecs import tiff_layout
from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.codecs.tiff_layout import TiffLayout, is_for_pillow, read_layout
from pixelmill.workers.errors import RowError
from tests.corpus import photo

WIDTH, HEIGHT = 70, 53  # multiples of no tile


def tiff(values: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **{"photometric": "rgb", "metadata": None, **options})
    return file.getvalue()


def rgb() -> np.ndarray:
    return np.asarray(photo(width=WIDTH, height=HEIGHT))


def refused() -> Iterator[tuple[str, bytes]]:
    grey_HW = np.asarray(photo(width=WIDTH, height=HEIGHT).convert("L"))

    def written(values: np.ndarray, **options: Any) -> bytes:
        file = io.BytesIO()
        tifffile.imwrite(file, values, metadata=None, **options)
        return file.getvalue()

    plain = written(grey_HW, photometric="minisblack")
    for kind in (np.int8, np.int16, np.uint32, np.float16, np.float32, np.float64):
        yield "signed, 32-bit or float values", written(grey_HW.astype(kind), photometric="minisblack")
    yield "4 bands", written(np.stack([grey_HW] * 4, 2), photometric="minisblack", planarconfig="contig")
    yield "compressed with JPEG XL", tagged(plain, 259, 50002)
    yield "compressed with LERC", tagged(plain, 259, 34887)
    yield "compression 12345", tagged(plain, 259, 12345)
    yield "colour filter array", tagged(plain, 262, 32803)
    yield "photometric interpretation 777", tagged(plain, 262, 777)
    big = written(np.asarray(photo()), photometric="rgb", compression="jpeg", byteorder=">", bigtiff=True)
    yield "JPEG in a big-endian BigTIFF", big


def tagged(data: bytes, tag: int, value: int) -> bytes:
    """The little-endian TIFF with another value of a tag that it has."""
    at = data.index(struct.pack("<H", tag) + b"\3\0\1\0\0\0")
    return data[: at + 8] + struct.pack("<H", value) + data[at + 10 :]


@pytest.mark.parametrize(("words", "data"), list(refused()), ids=lambda value: value if isinstance(value, str) else "")
def test_a_layout_that_is_not_supported_is_named(words: str, data: bytes) -> None:
    with pytest.raises(RowError) as caught:
        decode_picture(data)
    assert caught.value.error_type == "UnsupportedFormat"
    assert words in str(caught.value)


@pytest.mark.parametrize("is_big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_layout_equals_the_written_one_in_either_byte_order_and_size(order: str, is_big: bool) -> None:
    layout = read_layout(tiff(rgb(), byteorder=order, bigtiff=is_big, rowsperstrip=16, compression="lzw"))
    assert (layout.width, layout.height, layout.bits, layout.samples) == (WIDTH, HEIGHT, 8, 3)
    assert (layout.photometric, layout.compression) == (tiff_layout.RGB, tiff_layout.LZW)
    assert (layout.order, layout.is_big_tiff, layout.is_tiled, layout.is_planar) == (order, is_big, False, False)
    assert (layout.segment_width, layout.segment_height, layout.segment_bytes) == (WIDTH, 16, 16 * WIDTH * 3)


def test_a_segment_is_a_tile_of_all_samples_or_of_one_where_each_has_a_plane() -> None:
    planes_CHW = np.ascontiguousarray(rgb().transpose(2, 0, 1)).astype(np.uint16)
    tiled = read_layout(tiff(planes_CHW, planarconfig="separate", tile=(16, 32)))
    assert (tiled.segment_width, tiled.segment_height, tiled.is_tiled, tiled.is_planar) == (32, 16, True, True)
    assert tiled.segment_bytes == 16 * 32 * 2
    assert replace(tiled, is_planar=False).segment_bytes == 3 * 16 * 32 * 2
    assert replace(tiled, bits=1, segment_width=33).row_bytes == 5


@pytest.mark.parametrize(
    ("extra", "kind"),
    [
        ("unassalpha", tiff_layout.UNASSOCIATED_ALPHA),
        ("assocalpha", tiff_layout.ASSOCIATED_ALPHA),
        ("unspecified", None),
    ],
)
def test_a_fourth_sample_is_alpha_if_the_file_declares_it(extra: str, kind: int | None) -> None:
    layout = read_layout(tiff(np.zeros((8, 8, 4), np.uint8), extrasamples=[extra]))
    assert (layout.colours, layout.alpha) == (3, kind)
    assert replace(layout, extra_samples=()).alpha == tiff_layout.UNASSOCIATED_ALPHA


def test_an_orientation_beyond_eight_is_upright() -> None:
    for orientation, read in ((1, 1), (6, 6), (8, 8), (9, 1), (0, 1)):
        data = tiff(rgb(), extratags=[(274, "H", 1, orientation, True)])
        assert read_layout(data).orientation == read


def test_segments_lie_where_the_pixels_were_written_and_one_past_the_end_is_truncated() -> None:
    data = tiff(rgb(), rowsperstrip=16)
    found = tiff_layout.segments(data)
    assert b"".join(data[offset : offset + length] for offset, length in found) == rgb().tobytes()
    assert len(found) == 4
    with pytest.raises(RowError, match="a strip of its pixels runs past the end") as caught:
        tiff_layout.segments(data[:-1])
    assert caught.value.error_type == "Truncated"


def test_a_colour_map_is_all_reds_then_greens_then_blues() -> None:
    palette_CN = np.random.default_rng(0).integers(0, 65536, (3, 256), np.uint16)
    data = tiff(np.zeros((4, 4), np.uint8), photometric="palette", colormap=palette_CN)
    assert tiff_layout.colour_map(data) == tuple(palette_CN.flatten().tolist())
    assert tiff_layout.colour_map(tiff(rgb())) == ()


def test_a_tag_of_more_values_than_are_wanted_is_as_if_it_were_not_there() -> None:
    data = tiff(rgb())
    assert tiff_layout.read_tags(data, {258: 3})[0] == {258: (8, 8, 8)}
    assert tiff_layout.read_tags(data, {258: 2})[0] == {}


def directory(*tags: tuple[int, int], entries: int | None = None) -> bytes:
    """A little-endian TIFF of long integers, without pixels."""
    count = len(tags) if entries is None else entries
    return struct.pack("<2sHIH", b"II", 42, 8, count) + b"".join(
        struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags
    )


SIZE = ((256, 4), (257, 4))


@pytest.mark.parametrize(
    ("data", "error_type", "words"),
    [
        (b"II*\0\xff\0\0\0", "Truncated", "first directory lies past the end"),
        (directory(*SIZE, entries=3), "Truncated", "first directory runs past the end"),
        (directory((256, 4)), "Corrupt", "4 x 0 pixels"),
        (directory(*SIZE, (258, 8), (277, 65)), "Corrupt", "65 samples of 8 bits"),
        (directory(*SIZE, (258, 65)), "Corrupt", "1 sample of 65 bits"),
        (directory(*SIZE, (258, 8), (262, 2)), "Corrupt", "1 sample per pixel, too few"),
        (directory(*SIZE, (258, 8), (262, 1), (322, 0), (323, 16)), "Corrupt", "strips or tiles have no size"),
        (directory(*SIZE, (258, 8), (262, 1), (254, 1)), "UnsupportedFormat", "only a preview"),
        (directory(*SIZE, (258, 8), (262, 8), (259, 8), (277, 3), (284, 2)), "UnsupportedFormat", r"L\*a\*b\* colours"),
    ],
)
def test_an_impossible_directory_is_refused_with_the_fault(data: bytes, error_type: str, words: str) -> None:
    with pytest.raises(RowError, match=words) as caught:
        read_layout(data)
    assert caught.value.error_type == error_type


def written(**changes: Any) -> TiffLayout:
    return replace(read_layout(tiff(rgb())), **changes)


@pytest.mark.parametrize(
    ("changes", "is_pillows"),
    [
        ({}, True),
        ({"order": ">", "is_big_tiff": True}, False),
        ({"is_planar": True}, True),
        ({"is_planar": True, "bits": 16}, False),
        ({"fill_order": 2}, True),
        ({"fill_order": 2, "bits": 16}, False),
        ({"compression": tiff_layout.JPEG_2000}, False),
        ({"photometric": tiff_layout.WHITE_IS_ZERO, "samples": 1, "bits": 16}, True),
        ({"photometric": tiff_layout.WHITE_IS_ZERO, "samples": 1, "bits": 16, "order": ">"}, False),
        ({"samples": 4}, True),
        ({"samples": 5}, False),
        ({"photometric": tiff_layout.LAB, "bits": 16}, False),
    ],
    ids=str,
)
def test_pillow_is_given_only_the_layouts_that_it_reads_right(changes: dict[str, Any], is_pillows: bool) -> None:
    assert is_for_pillow(written(**changes)) is is_pillows
