"""Look at what was made: nearest neighbours over a column of vectors.

Legend: N rows, Q queries, D dimension of a vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.outputs.ledger import DATA
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import open_parquet, read_rows


@dataclass(frozen=True)
class Vectors:
    """A column of vectors, scaled to length 1, with the inputs that they stand for."""

    uris: list[str]
    vectors_ND: np.ndarray

    def nearest(self, queries: list[int], count: int) -> list[list[tuple[int, float]]]:
        """For each query row the `count` rows with the greatest cosine, but for itself, nearest first."""
        cosines_QN = self.vectors_ND[queries] @ self.vectors_ND.T
        cosines_QN[np.arange(len(queries)), queries] = -np.inf
        order_QN = np.argsort(-cosines_QN, axis=1)[:, :count]
        return [[(int(n), float(cosines_QN[q, n])) for n in order_N] for q, order_N in enumerate(order_QN)]


def read_vectors(folder: Folder, column: str = "embedding") -> Vectors:
    """Every vector of a run, in memory: 2 KB a row for 512 numbers."""
    tables: list[pa.Table] = []
    for name in folder.names(DATA):
        with folder.open(f"{DATA}/{name}") as file, open_parquet(file) as parquet:
            tables.append(read_rows(parquet, ["uri", column]))
    table = pa.concat_tables(tables).combine_chunks()
    values: Any = table[column].combine_chunks()
    vectors_ND = values.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(table.num_rows, -1)
    lengths_N = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return Vectors(strings_of(table["uri"]), vectors_ND / np.maximum(lengths_N, 1e-12))
