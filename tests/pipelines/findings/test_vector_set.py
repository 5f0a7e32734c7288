"""Vectors in this process: blocks come in order, and pairs are of the rows that were asked for."""

from __future__ import annotations

import numpy as np
import pytest

from pixelmill.pipelines.findings.vector_set import LocalVectors
from pixelmill.workers.similarity import units
from pixelmill.workers.similarity.units import units_of
from tests.pipelines.findings.explored import directions

UNITS = units_of(directions(3, 20)).astype(np.float16)


def test_blocks_come_in_the_order_of_the_rows_as_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units.blocks, "__defaults__", (7,))
    parts = list(LocalVectors(UNITS).map(np.copy))
    assert [len(part) for part in parts] == [7] * 8 + [4]
    assert {part.dtype.name for part in parts} == {"float32"}
    assert np.array_equal(np.concatenate(parts), UNITS.astype(np.float32))


def test_pairs_are_places_among_the_rows_that_were_asked_for() -> None:
    vectors = LocalVectors(UNITS)
    rows = np.array([1, 2, 25, 26, 50])
    pairs = vectors.near_pairs(rows, 0.9, 0)
    assert list(zip(pairs.left_P.tolist(), pairs.right_P.tolist(), strict=True)) == [(0, 1), (2, 3)]
    assert np.array_equal(vectors.take(rows), UNITS[rows].astype(np.float32))
    assert len(vectors.near_pairs(np.arange(60), 0.9, 0)) == 3 * 20 * 19 // 2
