"""The vectors of a run that is served, read once for the map and for neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
import psutil

from pixelmill.jobs.serving.served_run import ServedRun
from pixelmill.pipelines import explore
from pixelmill.pipelines.arrow import type_of
from pixelmill.pipelines.findings.row_vectors import RowVectors, read_vectors, vector_column
from pixelmill.workers.errors import JobError

SHARE_OF_MEMORY = 0.5
"""Vectors that take more than this share of the free memory are not held."""


def vectors_of(run: ServedRun) -> tuple[RowVectors, np.ndarray]:
    """The vectors, and the row of the table of each, -1 where there is none. JobError where there are none, where they are of
    two models, or where they do not fit into memory."""
    return run.kept("vectors", lambda: (run.table.generation, run.table.rows), lambda: _read(run))


def _read(run: ServedRun) -> tuple[RowVectors, np.ndarray]:
    column = vector_column(run.folder, None)
    kind: Any = type_of(explore.schema_of(run.folder), column)
    needed, free = run.table.rows * int(kind.list_size) * 4, psutil.virtual_memory().available
    if needed > SHARE_OF_MEMORY * free:
        raise JobError(
            f"{run.folder.uri}: its vectors take {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB of memory are free; "
            "`pixelmill neighbors` and `pixelmill project` read them piece by piece"
        )
    vectors = read_vectors(run.folder, column)
    return vectors, run.table.numbers_of_keys(vectors.keys)
