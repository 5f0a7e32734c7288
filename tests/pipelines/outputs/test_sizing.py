"""Parts are sized by the bytes that they will make, as far as a listing shows that."""

from __future__ import annotations

import time
import tracemalloc
from itertools import accumulate

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.pipelines.outputs.layout import SCHEMA
from pixelmill.pipelines.outputs.listing import Listing
from pixelmill.pipelines.outputs.parts import FIRST_PART_ROWS, size_parts
from pixelmill.pipelines.outputs.sizing import TYPICAL_PX, cut_large, foreseen_bytes, pixels_of
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder


def listed(*inputs: tuple[str, int | None], member: str | None = None) -> pa.Table:
    rows = [{"id": uri, "uri": uri, "size": size, "member": member} for uri, size in inputs]
    return pa.Table.from_pylist(rows, SCHEMA)


def test_pixels_are_estimated_from_bytes_by_the_suffix_of_the_name() -> None:
    table = listed(("a.jpg", 100_000), ("b.PNG", 100_000), ("c.webp", 100_000), ("d.jpg", None), ("e", 100_000))
    assert pixels_of(table).tolist() == [600_000, 70_000, 1_000_000, 0, 600_000]
    assert pixels_of(listed(("shard.tar", 100_000), member="x/y.png")).tolist() == [70_000]


def test_a_picture_of_12_megapixels_upscaled_by_4_is_foreseen_as_such() -> None:
    (found,) = foreseen_bytes(pixels_of(listed(("a.jpg", 2_000_000))), lambda px: 16 * px // 4)
    assert found == pytest.approx(48_000_000, rel=0.02)


def test_an_unknown_size_is_the_mean_of_the_others_and_typical_if_none_is_known() -> None:
    mixed = foreseen_bytes(np.array([0, 100_000, 300_000]), lambda px: px)
    assert mixed.tolist() == pytest.approx([200_000, 100_000, 300_000], rel=0.02)
    assert foreseen_bytes(np.array([0, 0]), lambda px: px).tolist() == pytest.approx([TYPICAL_PX] * 2, rel=0.02)


def test_inputs_of_many_rows_make_the_bytes_of_all_of_them() -> None:
    (found,) = foreseen_bytes(np.array([26_214_400]), lambda px: 2 * px, rows_per_input=100)
    assert found == pytest.approx(2 * 26_214_400, rel=0.02)


SIZES = st.lists(st.one_of(st.just(0), st.integers(1, 1000), st.integers(1, 10**8)), max_size=300)


@settings(deadline=None)
@given(SIZES, st.integers(1, 1 << 28), st.integers(0, 100), st.floats(0.01, 20))
def test_no_part_is_foreseen_above_the_file_size_unless_it_is_one_input(
    sizes: list[int], file_bytes: int, fixed: int, per_px: float
) -> None:
    pixels = np.array(sizes, np.int64)

    def row_bytes(picture_px: int) -> int:
        return fixed + int(per_px * picture_px)

    parts = size_parts(pixels, row_bytes, file_bytes=file_bytes)
    assert sum(parts) == len(sizes)
    assert min(parts, default=1) >= 1
    foreseen = foreseen_bytes(pixels, row_bytes)
    for start, rows in zip(accumulate(parts, initial=0), parts, strict=False):
        assert rows == 1 or foreseen[start : start + rows].sum() <= file_bytes
    if len({*sizes}) == 1:
        assert all(rows <= FIRST_PART_ROWS or rows % FIRST_PART_ROWS == 0 for rows in parts[:-1])


def test_parts_that_are_small_enough_stay_as_they_are() -> None:
    assert cut_large([16, 32, 5], np.full(53, 10), 320, 16) == [16, 32, 5]
    assert cut_large([16, 32, 5], np.full(53, 10), 319, 16) == [16, 16, 16, 5]
    assert cut_large([4], np.array([1, 900, 1, 1]), 100, 16) == [1, 1, 2]


def test_large_pictures_among_small_ones_have_parts_of_their_own_size() -> None:
    pixels = np.array([10_000] * 2000 + [12_000_000] * 200)
    parts = size_parts(pixels, lambda px: 8 * px, file_bytes=128 << 20)
    assert max(parts) >= 64, "small pictures are many in a file"
    assert parts[-1] == 1, "of the large ones each makes 96 MB"


def test_a_listing_knows_the_pixels_of_all_its_files(tmp_path_factory: pytest.TempPathFactory) -> None:
    listing = Listing(Folder(str(tmp_path_factory.mktemp("out")), Access()), 0)
    listing.write(iter([listed(("a.jpg", 1000)), listed(("b.jpg", None), ("c.png", 1000))]))
    assert listing.pixels.tolist() == [6000, 0, 700]


def test_millions_of_inputs_are_sized_in_seconds() -> None:
    pixels = np.random.default_rng(0).integers(0, 20_000_000, 2_000_000)
    start_s = time.process_time()
    parts = size_parts(pixels, lambda px: px // 2, file_bytes=128 << 20)
    assert time.process_time() - start_s < 10
    assert sum(parts) == len(pixels)


def test_to_size_parts_takes_the_memory_of_two_numbers_an_input() -> None:
    pixels = np.random.default_rng(0).integers(0, 20_000_000, 1_000_000)
    tracemalloc.start()
    try:
        size_parts(pixels, lambda px: px // 2, file_bytes=128 << 20)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 24 * len(pixels)
