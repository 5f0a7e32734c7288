"""Stored pictures in another format: lossy conversions are refused, and equal pictures make equal files."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from pixelmill.workers.codecs.encode import encode_jpeg, encode_png, encode_png16, encode_png_palette, encode_webp
from pixelmill.workers.codecs.stored import StoredFormat, converted, shown, values_of
from pixelmill.workers.errors import RowError

GENERATOR = np.random.default_rng(0)
IDS = GENERATOR.integers(0, 3, (20, 30)).astype(np.uint8)
COLOURS = [(10, 20, 30), (200, 100, 50), (0, 255, 0)]
RGB = GENERATOR.integers(0, 256, (20, 30, 3)).astype(np.uint8)
DEEP = GENERATOR.integers(0, 65_536, (20, 30)).astype(np.uint16)
STORED = {
    "ids": encode_png_palette(IDS, COLOURS),
    "deep": encode_png16(DEEP),
    "rgb": encode_png(RGB),
    "jpeg": encode_jpeg(torch.from_numpy(RGB).permute(2, 0, 1), 95),
    "webp": encode_webp(torch.from_numpy(RGB).permute(2, 0, 1), lossless=True),
}


@pytest.mark.parametrize(("kind", "suffix"), [("ids", ".png"), ("deep", ".png"), ("jpeg", ".jpg"), ("webp", ".webp")])
def test_as_stored_the_bytes_stay_and_the_suffix_is_theirs(kind: str, suffix: str) -> None:
    assert converted(STORED[kind], "stored") == (STORED[kind], suffix)


def test_values_are_those_that_were_stored() -> None:
    assert np.array_equal(values_of(STORED["ids"]), IDS)
    assert np.array_equal(values_of(STORED["deep"]), DEEP)
    assert values_of(STORED["deep"]).dtype == np.uint16
    assert np.array_equal(values_of(STORED["rgb"]), RGB)
    assert np.array_equal(values_of(STORED["webp"]), RGB)
    assert [shown(STORED[kind]).mode for kind in ("ids", "rgb", "jpeg", "webp")] == ["P", "RGB", "RGB", "RGB"]


@pytest.mark.parametrize("kind", ["ids", "deep", "rgb"])
def test_a_png_stays_the_png_that_it_is(kind: str) -> None:
    assert converted(STORED[kind], "png") == (STORED[kind], ".png")


def test_other_formats_become_png_without_loss() -> None:
    data, suffix = converted(STORED["webp"], "png")
    assert (suffix, np.array_equal(values_of(data), RGB)) == (".png", True)


def test_a_mask_as_jpeg_shows_its_colours() -> None:
    large = encode_png_palette(np.full((64, 64), 1, np.uint8), COLOURS)
    data, _ = converted(large, "jpeg")
    assert np.abs(values_of(data).astype(int) - COLOURS[1]).max() < 12
    assert converted(STORED["jpeg"], "jpeg") == (STORED["jpeg"], ".jpg")


@pytest.mark.parametrize(
    ("kind", "wanted", "words"),
    [("deep", "jpeg", "give --format png16 or npz"), ("rgb", "png16", "8 bits a value"), ("jpeg", "png16", "8 bits")],
)
def test_a_lossy_conversion_is_refused(kind: str, wanted: StoredFormat, words: str) -> None:
    with pytest.raises(RowError, match=words):
        converted(STORED[kind], wanted)


def test_arrays_are_scaled_where_there_is_a_scale_and_equal_ones_make_equal_files() -> None:
    data, suffix = converted(STORED["deep"], "npz", 0.5)
    values = np.load(io.BytesIO(data))["values"]
    assert (suffix, values.dtype) == (".npz", np.float32)
    assert np.array_equal(values, DEEP * np.float32(0.5))
    assert converted(STORED["deep"], "npz", 0.5)[0] == data
    (entry,) = zipfile.ZipFile(io.BytesIO(data)).infolist()
    assert entry.date_time == (1980, 1, 1, 0, 0, 0)  # not the time at which it was written
    assert np.load(io.BytesIO(converted(STORED["ids"], "npz")[0]))["values"].dtype == np.uint8


def test_a_broken_picture_is_an_error_of_its_row() -> None:
    with pytest.raises(RowError):
        converted(STORED["webp"][:40], "png")
    assert isinstance(shown(STORED["jpeg"]), Image.Image)
