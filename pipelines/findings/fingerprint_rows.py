"""The fingerprints of a run's rows, as the stage fingerprint wrote them.

Legend: N rows, S side of a thumbnail as it is compared, P numbers of it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
from PIL import Image

from pixelmill.pipelines import explore
from pixelmill.pipelines.arrow import texts_in
from pixelmill.pipelines.findings.row_vectors import key_columns
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.similarity.fingerprints import shape_of

COMPARED_PX = 24
HASH, PERCEPTUAL, THUMBNAIL = "_sha256", "_phash", "_thumbnail"
STATISTICS = ("_brightness", "_contrast", "_sharpness")


@dataclass(frozen=True)
class Fingerprints:
    """The fingerprints of every finished row."""

    base: str
    """What the names of their columns begin with."""
    keys: pa.Table
    sha256_N: list[str | None]
    hashes_N: np.ndarray
    """Perceptual hashes, uint64; 0 for a picture without structure."""

    def __len__(self) -> int:
        return len(self.sha256_N)


def base_of(schema: pa.Schema) -> str | None:
    """What the names of the columns of fingerprints begin with; None for a run without them."""
    bases = [name.removesuffix(PERCEPTUAL) for name in schema.names if name.endswith(PERCEPTUAL)]
    return next((base for base in bases if f"{base}{HASH}" in schema.names), None)


def read_fingerprints(folder: Folder) -> Fingerprints | None:
    """The hashes of every finished row, in memory: about 150 bytes a row; None for a run without fingerprints."""
    schema = explore.schema_of(folder)
    base = base_of(schema)
    if base is None:
        return None
    rows = explore.table(folder, [*key_columns(schema), f"{base}{HASH}", f"{base}{PERCEPTUAL}"])
    hashes: Any = rows[f"{base}{PERCEPTUAL}"]
    filled = hashes.fill_null(0).to_numpy()
    return Fingerprints(
        base, rows.select(key_columns(schema)), texts_in(rows[f"{base}{HASH}"]), filled.astype(np.uint64)
    )


def statistics(folder: Folder, base: str) -> dict[str, np.ndarray]:
    """Brightness, contrast and sharpness of every finished row, N each; NaN where there is none."""
    rows = explore.table(folder, [f"{base}{ending}" for ending in STATISTICS])
    columns = {ending.removeprefix("_"): cast("Any", rows[f"{base}{ending}"]) for ending in STATISTICS}
    return {name: column.to_numpy().astype(np.float32) for name, column in columns.items()}


def thumbnail_shapes(folder: Folder, base: str, rows: Sequence[int]) -> dict[int, np.ndarray]:
    """The thumbnails of these rows, counted over all finished rows, as vectors P whose product is their correlation. Rows without
    a thumbnail are left out.
    """
    wanted = np.unique(np.asarray(rows, np.int64))
    found: dict[int, np.ndarray] = {}
    first = 0
    for batch in explore.batches(folder, [f"{base}{THUMBNAIL}"]):
        inside = wanted[(wanted >= first) & (wanted < first + batch.num_rows)]
        cells = cast("Any", batch.column(0))
        for row in inside.tolist():
            if (data := cells[row - first]["bytes"].as_py()) is not None:
                found[row] = _shape(data)
        first += batch.num_rows
    return found


def _shape(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as picture:
        grey = picture.convert("L").resize((COMPARED_PX, COMPARED_PX), Image.Resampling.BOX)
    return shape_of(np.asarray(grey, np.float32) / 255)
