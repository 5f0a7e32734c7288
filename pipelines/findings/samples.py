"""A sample of rows that covers what a run holds: greedy k-centre, or rows at random."""

from __future__ import annotations

import numpy as np

from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.findings.row_vectors import RowVectors
from pixelmill.pipelines.findings.stored import Made, keyed
from pixelmill.workers.errors import JobError
from pixelmill.workers.similarity.units import farthest_first

SHOWN = 10


def k_centre(vectors: RowVectors, count: int, seed: int = 0) -> Made:
    """Columns rank (int32, from 0) and apart (float32): the cosine distance of each to the nearest row chosen before it."""
    if not 1 <= count <= len(vectors):
        raise JobError(f"--k-center {count}: there are {len(vectors):,} rows with a vector; give 1 to {len(vectors)}")
    rows, apart = farthest_first(vectors.units_ND, count, seed)
    keys = vectors.keys.take(rows)
    columns = {"rank": np.arange(count, dtype=np.int32), "apart": apart}
    covered = float(apart[-1]) if count > 1 else None
    return Made(keyed(keys, columns), {"rows": count, "apart": covered, "first": strings_of(keys["uri"])[:SHOWN]})
