"""Sizes that a network takes are kept, and windows cover a picture with as much around each pixel as the network sees."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.workers.models.picture_model import SizeFacts
from pixelmill.workers.prediction.sizes import MOST_ASPECT, Window, area, padded_size, plan_of, seen_size, windows

SIDES = st.integers(1, 5000)
MULTIPLES = st.sampled_from([1, 2, 8, 14, 32])
FACTS = st.builds(
    SizeFacts,
    multiple_px=MULTIPLES,
    least_px=st.sampled_from([1, 16, 100]),
    reach_px=st.integers(0, 120),
    tiling=st.sampled_from(["exact", "blended"]),
    stride_px=st.sampled_from([1, 4, 32]),
)


@settings(deadline=None)
@given(SIDES, SIDES, FACTS)
def test_a_padded_size_holds_the_picture_in_multiples_and_wastes_less_than_one(
    height: int, width: int, facts: SizeFacts
) -> None:
    for side, padded in zip((height, width), padded_size((height, width), facts), strict=True):
        assert padded >= max(side, facts.least_px)
        assert padded % facts.multiple_px == 0
        assert padded - max(side, facts.least_px) < facts.multiple_px


@settings(deadline=None)
@given(SIDES, SIDES, FACTS, st.integers(1, 300_000))
def test_windows_are_of_one_size_and_what_is_used_of_them_covers_the_picture_once(
    height: int, width: int, facts: SizeFacts, most_pixels: int
) -> None:
    plan = plan_of((height, width), facts, most_pixels)
    for side, cut in zip(plan.padded, (plan.rows, plan.columns), strict=True):
        assert (cut[0].first, cut[-1].last) == (0, side)
        assert all(left.last == right.first for left, right in pairwise(cut))
        align_px = math.lcm(facts.multiple_px, facts.stride_px if facts.tiling == "exact" else 1)
        assert len({window.length for window in cut[:-1]}) <= 1
        assert cut[0].length - align_px < cut[-1].length <= cut[0].length
        assert cut[-1].length == cut[0].length or facts.tiling == "exact"
        assert all(0 <= window.start <= window.first < window.last <= window.stop <= side for window in cut)
        assert all(window.start % align_px == 0 for window in cut)
        assert all(window.length % facts.multiple_px == 0 for window in cut)


@settings(deadline=None)
@given(SIDES, SIDES, FACTS, st.integers(1, 300_000))
def test_the_margin_around_the_used_part_of_a_window_is_the_reach_of_the_network(
    height: int, width: int, facts: SizeFacts, most_pixels: int
) -> None:
    plan = plan_of((height, width), facts, most_pixels)
    around_px = facts.reach_px if facts.tiling == "exact" else plan.ramp_px // 2
    assert around_px is not None
    for side, cut in zip(plan.padded, (plan.rows, plan.columns), strict=True):
        assert all(window.first - window.start >= around_px for window in cut if window.first > 0)
        assert all(window.stop - window.last >= around_px for window in cut if window.last < side)
        fades = [(window.first, window.last) for window in cut]
        assert all(last - first >= plan.ramp_px for first, last in fades[1:-1])


def test_tiles_have_as_many_pixels_as_are_allowed_unless_the_network_sees_farther() -> None:
    near = SizeFacts(multiple_px=8, reach_px=10, tiling="exact")
    assert plan_of((3000, 4000), near, 512 * 512).window == (512, 512)
    assert plan_of((64, 40_000), near, 512 * 512).window == (64, 4096)
    assert plan_of((40_000, 64), near, 512 * 512).window == (4096, 64)
    far = SizeFacts(multiple_px=32, reach_px=200, tiling="exact")
    assert plan_of((3000, 4000), far, 256 * 256).window == (800, 800)


def test_what_fits_is_not_cut() -> None:
    facts = SizeFacts(multiple_px=32, reach_px=10, tiling="exact")
    assert plan_of((512, 500), facts, 512 * 512).is_whole
    assert not plan_of((513, 500), facts, 512 * 512).is_whole


@settings(deadline=None)
@given(SIDES, SIDES, MULTIPLES, st.integers(1024, 300_000))
def test_what_cant_be_cut_is_seen_no_larger_than_allowed_and_no_larger_than_it_is(
    height: int, width: int, multiple_px: int, most_pixels: int
) -> None:
    facts = SizeFacts(multiple_px=multiple_px)
    seen = seen_size((height, width), facts, most_pixels)
    assert 1 <= seen[0] <= height
    assert 1 <= seen[1] <= width
    assert area(padded_size(seen, facts)) <= most_pixels
    if area(padded_size((height, width), facts)) <= most_pixels:
        assert seen == (height, width)
    assert plan_of(seen, facts, most_pixels).is_whole


@settings(deadline=None)
@given(SIDES, SIDES, MULTIPLES)
def test_a_shorter_side_is_resized_with_the_aspect_kept_up_to_a_limit(
    height: int, width: int, multiple_px: int
) -> None:
    facts = SizeFacts(resize_px=384, multiple_px=multiple_px)
    seen = seen_size((height, width), facts, 1 << 30)
    assert all(side % multiple_px == 0 for side in seen)
    assert abs(min(seen) - 384) <= multiple_px / 2
    aspect = min(max(height, width) / min(height, width), MOST_ASPECT)
    assert abs(max(seen) - 384 * aspect) <= multiple_px / 2 + 1
    assert (seen[0] <= seen[1]) == (height <= width) or seen[0] == seen[1]


def test_a_stated_pair_is_the_size_of_every_picture() -> None:
    facts = SizeFacts(resize_px=(256, 512))
    for size in ((1, 1), (5000, 20), (256, 512)):
        assert seen_size(size, facts, 100) == (256, 512)
        assert plan_of((256, 512), facts, 100).is_whole


@pytest.mark.parametrize("side", [10, 100])
def test_a_side_that_fits_has_one_window(side: int) -> None:
    assert windows(side, 100, 20, 1) == (Window(0, side, 0, side),)
