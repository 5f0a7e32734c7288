"""Pairs of near vectors: all of them where they are few, nearly all across cells, and groups that never chain."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.workers.errors import JobError
from pixelmill.workers.similarity import near_pairs
from pixelmill.workers.similarity.near_pairs import Pairs, digests_of, first_of_equals, groups_of, joined
from pixelmill.workers.similarity.units import units_of


def as_set(pairs: Pairs) -> set[tuple[int, int]]:
    return set(zip(pairs.left_P.tolist(), pairs.right_P.tolist(), strict=True))


def plain(units_ND: np.ndarray, least: float) -> set[tuple[int, int]]:
    left, right = np.nonzero(np.triu(units_ND @ units_ND.T >= least, k=1))
    return set(zip(left.tolist(), right.tolist(), strict=True))


@settings(deadline=None, max_examples=30)
@given(rows=st.integers(0, 60), block_rows=st.integers(1, 20), seed=st.integers(0, 9))
def test_few_vectors_are_all_compared_and_each_pair_is_found_once(rows: int, block_rows: int, seed: int) -> None:
    units_ND = units_of(np.random.default_rng(seed).normal(size=(rows, 4)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_pairs.blocks, "__defaults__", (block_rows,))
        patch.setattr(near_pairs, "OTHERS_AT_ONCE", 7)
        found = near_pairs.near_pairs(units_ND, 0.6)
    assert len(found) == len(as_set(found))
    assert as_set(found) == plain(units_ND, 0.6)


def test_pairs_across_cells_are_found() -> None:
    random = np.random.default_rng(0)
    centres = random.normal(size=(40, 16))  # spread evenly, so that borders of cells run through neighbours
    originals = centres[random.integers(40, size=3000)] + 0.8 * random.normal(size=(3000, 16))
    copies = originals[:600] + 0.05 * random.normal(size=(600, 16))
    units_ND = units_of(np.concatenate([originals, copies]))
    expected = plain(units_ND, 0.97)
    assert len(expected) > 500
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_pairs, "ROWS_PER_CELL", 60)
        found = as_set(near_pairs.near_pairs(units_ND, 0.97, exact_rows=100))
        patch.setattr(near_pairs, "CELLS_EACH", 1)
        in_one_cell = as_set(near_pairs.near_pairs(units_ND, 0.97, exact_rows=100))
    assert found <= expected
    assert len(found) >= 0.97 * len(expected)
    assert len(in_one_cell) < len(found)


def test_no_cell_attracts_the_rows_of_all_others() -> None:
    random = np.random.default_rng(0)
    centres = random.normal(size=(60, 256))
    units_ND = units_of(centres[random.integers(60, size=6000)] + random.normal(size=(6000, 256)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_pairs, "ROWS_PER_CELL", 200)
        sizes = [len(rows) for rows in near_pairs.cells_of(units_ND)]
    assert sum(sizes) == 3 * 6000
    assert max(sizes) <= 3 * np.mean(sizes)


def test_centres_of_cells_are_compared_by_their_direction_alone() -> None:
    random = np.random.default_rng(4)
    spread_ND = units_of(random.standard_normal((6000, 8)).astype(np.float32))
    centres_KD = near_pairs.cell_centres(spread_ND, len(spread_ND))
    np.testing.assert_allclose(np.linalg.norm(centres_KD, axis=1), 1, rtol=1e-5)


def test_vectors_that_are_all_alike_are_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_pairs, "MOST_PAIRS", 100)
    with pytest.raises(JobError, match="give a higher --threshold"):
        near_pairs.near_pairs(units_of(np.ones((40, 3))), 0.9)


def pairs_of(*pairs: tuple[int, int]) -> Pairs:
    left, right = np.array(pairs).T
    return Pairs(left, right, np.full(len(left), 0.98, np.float32))


def test_a_chain_is_no_group() -> None:
    chain = pairs_of((0, 1), (1, 2), (2, 3), (3, 4), (4, 5))
    representatives = groups_of(chain, 6).tolist()
    linked = as_set(chain)
    for row, representative in enumerate(representatives):
        assert row == representative or tuple(sorted((row, representative))) in linked
    assert len(set(representatives)) > 1


def test_the_row_with_the_most_pairs_represents_and_rows_without_any_stay_alone() -> None:
    assert groups_of(pairs_of((0, 2), (1, 2), (2, 4)), 6).tolist() == [2, 2, 2, 3, 2, 5]


def test_a_pair_that_two_cells_found_is_one_pair_with_its_greatest_nearness() -> None:
    both = [Pairs(np.array([1]), np.array([2]), np.array([near], np.float32)) for near in (0.9, 0.95)]
    assert [each.tolist() for each in joined(both)] == [[1], [2], [pytest.approx(0.95)]]


def test_equal_vectors_have_the_first_of_them() -> None:
    digests = digests_of(np.array([[1, 2], [3, 4], [1, 2], [3, 4]], np.float32))
    assert first_of_equals(digests).tolist() == [0, 1, 0, 1]


@settings(deadline=None, max_examples=60)
@given(edges=st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=25))
def test_every_member_pairs_with_its_representative_which_represents_itself(edges: set[tuple[int, int]]) -> None:
    linked = {(min(edge), max(edge)) for edge in edges if edge[0] != edge[1]}
    if not linked:
        return
    representatives = groups_of(pairs_of(*sorted(linked)), 10).tolist()
    for row, representative in enumerate(representatives):
        assert representatives[representative] == representative
        assert row == representative or tuple(sorted((row, representative))) in linked
    alone = {row for row in range(10) if representatives.count(representatives[row]) == 1}
    assert not any(left in alone and right in alone for left, right in linked), (
        "two rows of a pair are never both alone"
    )


def test_a_row_between_two_representatives_stays_with_the_one_of_more_pairs() -> None:
    assert groups_of(pairs_of((0, 1), (0, 2), (0, 3), (3, 4), (4, 5)), 6).tolist() == [0, 0, 0, 0, 4, 4]
