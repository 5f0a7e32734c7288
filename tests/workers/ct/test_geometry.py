"""Order, spacing, gaps and tilt follow from positions alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.workers.ct.geometry import Geometry, is_one_orientation, is_one_spacing, normal_of, stack_of

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def _at(places_mm: list[float], orientation: tuple[float, ...] = AXIAL, shear: float = 0.0) -> list[Geometry]:
    normal = normal_of(orientation)
    row = np.array(orientation[:3])
    positions = [normal * place + row * shear * place for place in places_mm]
    return [Geometry(tuple(map(float, each)), orientation, (0.7, 0.7)) for each in positions]  # type: ignore[arg-type]


def _rotated(angle: float) -> tuple[float, ...]:
    cosine, sine = float(np.cos(angle)), float(np.sin(angle))
    return (cosine, sine, 0.0, 0.0, 0.0, -1.0) if angle > 1 else (cosine, sine, 0.0, -sine, cosine, 0.0)


@settings(deadline=None, max_examples=60)
@given(st.permutations(range(9)), st.floats(0, 3), st.floats(0.4, 6), st.booleans())
def test_any_order_of_listing_gives_one_order_of_slices(
    listed: list[int], angle: float, step_mm: float, is_feet_first: bool
) -> None:
    sign = -1 if is_feet_first else 1
    stack = stack_of(_at([sign * step_mm * number for number in listed], _rotated(angle)))
    assert [listed[index] for index in stack.order_N] == sorted(range(9), reverse=is_feet_first)
    assert stack.step_mm == pytest.approx(step_mm)
    assert (stack.doubled, stack.missing, stack.irregular) == (0, 0, 0)
    assert stack.tilt_degrees == pytest.approx(0, abs=1e-4)


@settings(deadline=None, max_examples=60)
@given(st.sets(st.integers(1, 18), max_size=4), st.sets(st.integers(0, 19), max_size=3))
def test_every_planted_gap_and_double_is_counted(gone: set[int], twice: set[int]) -> None:
    kept = [place for place in range(20) if place not in gone]
    doubled = [place for place in twice if place in kept]
    stack = stack_of(_at([2.5 * place for place in [*kept, *doubled]]))
    assert (stack.missing, stack.doubled, stack.irregular) == (len(gone), len(doubled), 0)


@pytest.mark.parametrize("degrees", [1.0, 14.0, 25.0])
def test_tilt_is_the_angle_between_the_steps_and_the_normal(degrees: float) -> None:
    stack = stack_of(_at([2.0 * n for n in range(6)], shear=float(np.tan(np.radians(degrees)))))
    assert stack.tilt_degrees == pytest.approx(degrees)
    assert stack.step_mm == pytest.approx(2.0)  # between planes, not along the table


def test_positions_that_were_rounded_are_regular_and_others_are_not() -> None:
    assert stack_of(_at([0, 1.25, 2.5, 3.75 + 0.02, 5.0])).irregular == 0
    assert stack_of(_at([0, 2, 4, 6, 9.1, 11.1])).irregular == 1


def test_orientations_and_spacings_are_compared() -> None:
    slices = _at([0, 1, 2])
    assert is_one_orientation(slices)
    assert is_one_spacing(slices)
    assert not is_one_orientation([*slices, *_at([3], _rotated(0.1))])
    assert not is_one_spacing([*slices, slices[0].__class__((0, 0, 3), slices[0].orientation, (0.7, 0.8))])


def test_directions_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="right angle"):
        normal_of((1, 0, 0, 1, 0, 0))
    with pytest.raises(ValueError, match="right angle"):
        normal_of((0, 0, 0, 0, 1, 0))


@pytest.mark.parametrize(
    ("orientation", "normal"),
    [
        (AXIAL, (0, 0, 1)),
        ((1, 0, 0, 0, 0, -1), (0, 1, 0)),
        ((0, 1, 0, 0, 0, -1), (-1, 0, 0)),
        ((-1, 0, 0, 0, 1, 0), (0, 0, -1)),
    ],
)
def test_the_normal_is_the_row_times_the_column(orientation: tuple[float, ...], normal: tuple[float, ...]) -> None:
    assert normal_of(orientation).tolist() == pytest.approx(normal)
