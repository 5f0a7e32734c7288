"""Fingerprints: what stays when a picture is copied, and what differs between pictures."""

from __future__ import annotations

import io

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from pixelmill.workers.similarity.fingerprints import (
    HASHED_PX,
    MOST_DIFFERENT_BITS,
    different_bits,
    luma_of,
    near_hashes,
    perceptual_hash,
    pixels_sha256,
    shape_of,
    statistics_of,
)

NAMES = ("astronaut", "cat", "coffee", "rocket", "page", "coins", "retina")


def photograph(name: str) -> Image.Image:
    return Image.fromarray(getattr(skimage.data, name)()).convert("RGB")


def hash_of(picture: Image.Image) -> int:
    small = picture.resize((HASHED_PX, HASHED_PX), Image.Resampling.BOX)
    return perceptual_hash(luma_of(np.asarray(small).transpose(2, 0, 1)))


def recompressed(picture: Image.Image) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=35)
    return Image.open(file).convert("RGB")


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_that_was_shrunk_and_compressed_keeps_its_hash_but_for_few_bits(name: str) -> None:
    picture = photograph(name)
    copy = recompressed(picture.resize((picture.width * 2 // 3, picture.height * 2 // 3)))
    assert different_bits(np.uint64(hash_of(picture)), np.uint64(hash_of(copy))) <= MOST_DIFFERENT_BITS


def test_different_photographs_have_different_hashes() -> None:
    hashes = np.array([hash_of(photograph(name)) for name in NAMES], np.uint64)
    assert len(near_hashes(hashes, 12)) == 0


def test_a_picture_without_structure_has_no_hash_and_no_duplicates() -> None:
    assert perceptual_hash(np.full((HASHED_PX, HASHED_PX), 0.4, np.float32)) == 0
    assert len(near_hashes(np.zeros(9, np.uint64))) == 0


@settings(deadline=None, max_examples=50)
@given(
    base=st.integers(1, 2**64 - 1),
    flips=st.lists(st.sets(st.integers(0, 63), max_size=7), min_size=1, max_size=6),
    most=st.integers(0, 6),
)
def test_every_pair_of_near_hashes_is_found_and_no_other(base: int, flips: list[set[int]], most: int) -> None:
    values = [base, *(base ^ sum(1 << bit for bit in each) for each in flips)]
    hashes = np.array(values, np.uint64)
    near = near_hashes(hashes, most)
    expected = {
        (left, right)
        for right in range(len(values))
        for left in range(right)
        if (values[left] ^ values[right]).bit_count() <= most and values[left] and values[right]
    }
    assert set(zip(near.left_P.tolist(), near.right_P.tolist(), strict=True)) == expected


def test_the_hash_of_pixels_tells_every_pixel_and_shape_apart() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(3, 2, 4)
    other = pixels.copy()
    other[2, 1, 3] ^= 1
    hashes = {pixels_sha256(each) for each in (pixels, other, pixels.reshape(3, 4, 2))}
    assert len(hashes) == 3
    assert pixels_sha256(pixels) == pixels_sha256(np.asfortranarray(pixels))


def test_statistics_rank_dark_and_blurred_pictures_below_others() -> None:
    picture = photograph("astronaut").resize((256, 256))

    def measured(each: Image.Image) -> tuple[float, float, float]:
        return statistics_of(luma_of(np.asarray(each).transpose(2, 0, 1)))

    sharp = measured(picture)
    assert measured(picture.point(lambda value: value // 10))[0] < 0.1 * sharp[0] + 0.01
    assert measured(picture.filter(ImageFilter.GaussianBlur(4)))[2] < 0.2 * sharp[2]
    assert measured(Image.new("RGB", (256, 256), "white")) == pytest.approx((1, 0, 0), abs=1e-5)
    assert measured(Image.new("RGB", (1, 1), "white"))[2] == 0


def test_shapes_compare_structure_and_not_brightness() -> None:
    grey = np.random.default_rng(0).random((24, 24)).astype(np.float32)
    assert shape_of(grey) @ shape_of(0.5 * grey + 0.3) == pytest.approx(1, abs=1e-5)
    assert shape_of(grey) @ shape_of(1 - grey) == pytest.approx(-1, abs=1e-5)
    assert not shape_of(np.full((24, 24), 0.5, np.float32)).any()
