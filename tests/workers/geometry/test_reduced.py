"""A JPEG that is decoded at a fraction of its size: the network sees what it would see of the whole one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from PIL import Image

from pixelmill.workers.codecs.decode import decode_picture, decode_reduced
from pixelmill.workers.errors import RowError
from pixelmill.workers.geometry.reduced import LEAST_FACTOR, factor_of
from pixelmill.workers.geometry.resize import resize_shorter_side
from pixelmill.workers.models.preprocess import Preprocess
from pixelmill.workers.pictures import Reduced
from tests.corpus import encode, photo
from tests.workers.fates import ITEMS

SEEN = Preprocess(64, 64, "bilinear", (0.5,) * 3, (0.5,) * 3)
LEAST_PX = LEAST_FACTOR * 64
SIZES = [(640, 448), (641, 449), (1031, 777), (777, 1031), (523, 515)]


def decibels(first: torch.Tensor, second: torch.Tensor) -> float:
    error = float((first.float() - second.float()).square().mean())
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def jpeg(size: tuple[int, int], orientation: int = 1, **options: object) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    return encode(photo("coffee", *size), quality=90, exif=exif, **options)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "seen",
    [
        SEEN,
        replace(SEEN, interpolation="bicubic"),
        replace(SEEN, fit="stretch", crop_px=(48, 64)),
        replace(SEEN, fit="pad"),
        replace(SEEN, mean=(0.5,), std=(0.5,)),
    ],
    ids=lambda seen: f"{seen.fit}, {seen.interpolation}, {len(seen.mean)}",
)
def test_the_network_sees_the_same_picture_whatever_its_sides_are(size: tuple[int, int], seen: Preprocess) -> None:
    data = jpeg(size)
    pixels_CHW, reduced = decode_reduced(data, LEAST_PX)
    assert reduced is not None
    assert reduced.by >= 2
    assert (reduced.width, reduced.height) == size
    assert min(pixels_CHW.shape[1:]) >= LEAST_PX
    assert decibels(seen.applied_to(pixels_CHW, reduced), seen.applied_to(decode_picture(data))) >= 45


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(640, 448), (643, 451), (644, 454)])
def test_a_turned_picture_is_the_same_too(size: tuple[int, int], orientation: int) -> None:
    data = jpeg(size, orientation)
    pixels_CHW, reduced = decode_reduced(data, LEAST_PX)
    whole_CHW = decode_picture(data)
    assert decibels(SEEN.applied_to(pixels_CHW, reduced), SEEN.applied_to(whole_CHW)) >= 45
    if reduced is not None:
        assert (reduced.height, reduced.width) == tuple(whole_CHW.shape[1:])


def test_the_fraction_leaves_what_is_needed() -> None:
    assert factor_of(3000, 4000, 448, is_turned=False) == 4
    assert factor_of(4096, 4096, 512, is_turned=False) == 8
    assert factor_of(4095, 4096, 512, is_turned=False) == 4
    assert factor_of(600, 600, 448, is_turned=False) == 1
    assert factor_of(3001, 4000, 448, is_turned=True) == 1
    assert factor_of(3002, 4000, 448, is_turned=True) == 2
    assert factor_of(1000, 33_000, 100, is_turned=False) == 1


def outcome(decode: Callable[[], tuple[torch.Tensor, Reduced | None]]) -> tuple[object, ...]:
    """The size of the picture, or the error."""
    try:
        pixels_CHW, reduced = decode()
    except RowError as error:
        return error.error_type, str(error)
    return (reduced.height, reduced.width) if reduced else tuple(pixels_CHW.shape[1:])


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}], ids=str)
def test_a_cut_file_is_refused_at_a_fraction_as_it_is_whole(options: dict[str, object]) -> None:
    data = jpeg((640, 448), **options)
    fates: set[object] = set()
    for cut in range(data.index(b"\xff\xda") + 14, len(data) - 40, 1499):
        for broken in (data[:cut], data[:cut] + b"\xff\xd9"):
            whole = outcome(lambda broken=broken: (decode_picture(broken), None))
            assert outcome(lambda broken=broken: decode_reduced(broken, LEAST_PX)) == whole
            fates.add(whole[0])
    assert "Truncated" in fates


@pytest.mark.parametrize("name", sorted(ITEMS))
def test_every_case_has_the_same_fate(name: str) -> None:
    data = ITEMS[name].data
    assert outcome(lambda: decode_reduced(data, 8)) == outcome(lambda: (decode_picture(data), None))


def test_other_formats_and_small_pictures_are_decoded_whole() -> None:
    for data in (encode(photo("coffee", 640, 448), "PNG"), jpeg((200, 180))):
        pixels_CHW, reduced = decode_reduced(data, LEAST_PX)
        assert reduced is None
        assert torch.equal(pixels_CHW, decode_picture(data))


def test_the_size_is_that_of_the_whole_picture_at_every_length() -> None:
    for width in range(256, 700):
        for by in (2, 4):
            if (height := 256) // by >= 2 * 32:
                reduced = Reduced(by, height, width)
                pixels_CHW = torch.zeros(3, -(-height // by), -(-width // by), dtype=torch.uint8)
                made = resize_shorter_side(pixels_CHW, 32, exact=False, reduced=reduced)
                assert made.shape == (3, 32, int(32 * width / height))
