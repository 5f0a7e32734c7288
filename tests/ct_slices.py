"""A folder as `ct ingest` writes it, made without a run: series of slices whose values say where they lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("member", pa.string()),
        pa.field("place", pa.int32()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("series_id", pa.string()),
        pa.field("patient_id", pa.string()),
        pa.field("slice_id", pa.string()),
        pa.field("usable_3d", pa.bool_()),
        pa.field("position_mm", pa.float64()),
        pa.field("spacing_mm", pa.list_(pa.float64())),
        pa.field("orientation", pa.list_(pa.float64())),
        pa.field("phase_percent", pa.float64()),
        pa.field("hu", pa.list_(pa.int16())),
    ]
)


@dataclass(frozen=True)
class Series:
    """`hu_DHW` with its geometry; `places_mm` along the normal."""

    letter: str
    hu_DHW: np.ndarray
    places_mm: Sequence[float | None]
    usable_3d: bool = True
    spacing_mm: tuple[float, float] = (1.0, 1.0)
    orientation: tuple[float, ...] | None = AXIAL

    def rows(self) -> list[dict[str, Any]]:
        height, width = self.hu_DHW.shape[1:]
        shared = {
            "id": self.letter * 32,
            "uri": f"ct:{self.letter * 32}",
            "width": width,
            "height": height,
            "series_id": self.letter * 32,
            "patient_id": "p" * 32,
            "usable_3d": self.usable_3d,
            "spacing_mm": list(self.spacing_mm),
            "orientation": self.orientation and list(self.orientation),
        }
        return [
            {
                **shared,
                "place": place,
                "slice_id": f"{place:032d}",
                "position_mm": place_mm,
                "hu": hu_HW.ravel().tolist(),
            }
            for place, (hu_HW, place_mm) in enumerate(zip(self.hu_DHW, self.places_mm, strict=True))
        ]


def ramp(slices: int = 5, height: int = 6, width: int = 8) -> np.ndarray:
    """Values 100 x slice + 10 x row + column."""
    return np.fromfunction(lambda d, h, w: 100 * d + 10 * h + w, (slices, height, width)).astype(np.int16)


def ingested(folder: Path, parts: Mapping[str, Sequence[Series]], *, group_rows: int = 3) -> Path:
    """OUT with these files; `group_rows` rows in a row group."""
    (folder / "data").mkdir(parents=True)
    (folder / "_run").mkdir()
    (folder / "_run/spec.yaml").write_text("version: 1\n")
    for name, several in parts.items():
        rows = [row for series in several for row in series.rows()]
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), folder / f"data/{name}", row_group_size=group_rows)
    return folder


def embedded(
    folder: Path,
    out: Path,
    parts: Mapping[str, Sequence[Series]],
    angles: Mapping[str, Sequence[float]],
    about: tuple[float, float] = (0.0, 0.0),
) -> Path:
    """CODES as `embed OUT CODES` writes them: of each slice a code in the plane, at an angle in degrees by series and place
    about a point."""
    rows: list[dict[str, Any]] = []
    for name, several in parts.items():
        owners = [(series.letter, place) for series in several for place in range(len(series.hu_DHW))]
        for row, (letter, place) in enumerate(owners):
            angle = np.radians(angles[letter][place])
            rows.append(
                {
                    "id": f"{len(rows):032d}",
                    "uri": f"{out}/data/{name}",
                    "member": f"row {row}",
                    "source_id": letter * 32,
                    "embedding": [about[0] + 3 * float(np.cos(angle)), about[1] + 3 * float(np.sin(angle))],
                }
            )
    texts = [pa.field(name, pa.string()) for name in ("id", "uri", "member", "source_id")]
    schema = pa.schema([*texts, pa.field("embedding", pa.list_(pa.float32(), 2))])
    (folder / "data").mkdir(parents=True)
    (folder / "_run").mkdir()
    (folder / "_run/spec.yaml").write_text("version: 1\n")
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / "data/part-000000.parquet")
    return folder
