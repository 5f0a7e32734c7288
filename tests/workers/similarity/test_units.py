"""Nearest vectors and samples that lie apart, against plain searches over everything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.workers.similarity import units
from pixelmill.workers.similarity.units import farthest_first, nearest, units_of


def drawn(rows: int, dimension: int = 5, seed: int = 0) -> np.ndarray:
    return units_of(np.random.default_rng(seed).normal(size=(rows, dimension)))


@settings(deadline=None, max_examples=40)
@given(rows=st.integers(1, 30), count=st.integers(1, 8), block_rows=st.integers(1, 9), seed=st.integers(0, 5))
def test_neighbours_are_those_of_a_plain_search_whatever_the_blocks(
    rows: int, count: int, block_rows: int, seed: int
) -> None:
    units_ND = drawn(rows, seed=seed)
    cosines_NN = units_ND @ units_ND.T
    np.fill_diagonal(cosines_NN, -np.inf)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(units.blocks, "__defaults__", (block_rows,))
        patch.setattr(units, "BLOCK_ROWS", block_rows)
        found_NK, near_NK = nearest(units_ND, units_ND, count, np.arange(rows))
    assert found_NK.shape == (rows, min(count, rows - 1))
    expected_NK = np.sort(cosines_NN, axis=1)[:, ::-1][:, : found_NK.shape[1]]
    assert np.allclose(near_NK, expected_NK, atol=1e-6)
    assert np.allclose(np.take_along_axis(cosines_NN, found_NK, 1), near_NK, atol=1e-6)


def test_a_vector_that_is_no_reference_may_find_an_equal_one() -> None:
    units_ND = drawn(6)
    rows_NK, cosines_NK = nearest(units_ND[:2], units_ND, 1, np.array([-1, 1]))
    assert rows_NK[0, 0] == 0
    assert cosines_NK[0, 0] == pytest.approx(1)
    assert rows_NK[1, 0] != 1


def test_the_length_of_a_vector_of_zeros_is_no_number_to_divide_by() -> None:
    assert units_of(np.array([[0.0, 0.0], [3.0, 4.0]])).tolist() == [[0, 0], pytest.approx([0.6, 0.8])]


def test_the_farthest_rows_cover_every_cluster_before_any_is_taken_twice() -> None:
    centres = np.eye(6)
    near = np.concatenate([centres + 0.01 * np.random.default_rng(seed).normal(size=(6, 6)) for seed in range(9)])
    rows, apart = farthest_first(units_of(near), 8)
    assert sorted(rows[:6] % 6) == list(range(6))
    assert (apart[1:6] > 0.9).all()
    assert (apart[6:] < 0.01).all()
    assert len(set(rows.tolist())) == 8


@pytest.mark.parametrize("count", [1, 3, 50])
def test_no_more_rows_are_chosen_than_there_are_and_none_twice(count: int) -> None:
    units_ND = np.repeat(drawn(2), 3, axis=0)
    rows, _ = farthest_first(units_ND, count)
    assert len(rows) == len(set(rows.tolist())) == min(count, 6)
