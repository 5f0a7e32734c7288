"""A sample of rows that covers a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pixelmill.pipelines.findings.row_vectors import RowVectors, read_vectors
from pixelmill.pipelines.findings.samples import k_centre
from pixelmill.workers.errors import JobError
from tests.pipelines.findings.explored import add_part, open_out

LABELS = np.repeat(np.arange(3), [12, 8, 4])


@pytest.fixture
def vectors(tmp_path: Path) -> RowVectors:
    """Three directions with 12, 8 and 4 rows."""
    out = open_out(tmp_path)
    random = np.random.default_rng(0)
    many = (np.eye(3)[LABELS] + 0.05 * random.normal(size=(24, 3))).astype(np.float32)
    add_part(out, [f"{n:02d}" for n in range(10)], many[:10])
    add_part(out, [f"{n:02d}" for n in range(10, 24)], many[10:])
    return read_vectors(out)


def test_a_sample_has_each_direction_before_any_twice(vectors: RowVectors) -> None:
    made = k_centre(vectors, 4)
    chosen = [int(str(each)[-2:]) for each in made.rows["id"].to_pylist()]
    assert sorted(LABELS[chosen[:3]]) == [0, 1, 2]
    assert made.rows["rank"].to_pylist() == [0, 1, 2, 3]
    with pytest.raises(JobError, match="give 1 to 24"):
        k_centre(vectors, 25)
