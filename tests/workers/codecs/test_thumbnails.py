"""Small pictures of whatever a run holds: upright, in the colours of classes, of any size, or a reason."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pixelmill.workers.codecs.encode import encode_png16, encode_png_palette
from pixelmill.workers.codecs.thumbnails import in_false_colours, thumbnail
from pixelmill.workers.errors import RowError


def saved(picture: Image.Image, file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


def halves(width: int, height: int) -> Image.Image:
    """Red on the left, blue on the right."""
    picture = Image.new("RGB", (width, height), "red")
    picture.paste("blue", (width // 2, 0, width, height))
    return picture


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_shrunk_to_its_longer_side_and_never_enlarged(file_format: str) -> None:
    data = saved(halves(400, 100), file_format)
    small = thumbnail(data, 100)
    assert (small.mode, small.size) == ("RGB", (100, 25))
    left, right = small.getpixel((10, 12)), small.getpixel((90, 12))
    assert left[0] > 200 > 60 > left[2]  # type: ignore[index]
    assert right[2] > 200 > 60 > right[0]  # type: ignore[index]
    assert thumbnail(data, 1000).size == (400, 100)


def test_a_turned_photograph_is_shown_upright() -> None:
    exif = Image.Exif()
    exif[274] = 6  # shown after a quarter turn clockwise: the left half is on top
    small = thumbnail(saved(halves(400, 200), "JPEG", exif=exif), 100)
    assert small.size == (50, 100)
    assert small.getpixel((25, 5))[0] > 200  # type: ignore[index]
    assert small.getpixel((25, 95))[2] > 200  # type: ignore[index]


def test_a_photograph_of_100_megapixels_is_shown_and_another_format_of_them_refused() -> None:
    huge = Image.new("L", (12_500, 8_000), 90)
    assert thumbnail(saved(huge, "JPEG"), 64).size == (64, 41)
    with pytest.raises(RowError, match="100,000,000 pixels"):
        thumbnail(saved(huge, "PNG"), 64)


def test_class_ids_keep_the_colours_of_their_palette() -> None:
    ids = np.zeros((40, 40), np.uint8)
    ids[:, 20:] = 1
    colours = {(10, 20, 30), (250, 10, 20)}
    small = thumbnail(encode_png_palette(ids, sorted(colours)), 10)
    assert {each for _, each in small.getcolors() or []} == colours


def test_depth_is_shown_from_dark_to_light() -> None:
    values = np.tile(np.linspace(100, 9000, 64).astype(np.uint16), (16, 1))
    shown = np.asarray(thumbnail(encode_png16(values), 64).convert("L"), float)
    assert (np.diff(shown.mean(0)) > -3).all()
    assert shown.mean(0)[-1] - shown.mean(0)[0] > 180
    assert in_false_colours(np.full((3, 3), 7)).shape == (3, 3, 3)


@pytest.mark.parametrize("data", [b"", b"<html>", saved(halves(40, 40), "JPEG")[:400], b"\xff\xd8\xff\xe0" + bytes(40)])
def test_broken_bytes_have_a_reason(data: bytes) -> None:
    with pytest.raises(RowError):
        thumbnail(data, 64)
