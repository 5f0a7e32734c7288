"""Runs of CT and a curve to be served."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pixelmill.pipelines.ct.series import SERIES_SCHEMA
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from tests.ct_slices import Series, ingested, ramp

FIVE_MM = [0.0, 2.0, 4.0, 6.0, 8.0]
SECRET_NAME = "DOE^JANE"


def ct_run(folder: Path) -> str:
    """Two series; the second is no volume. An index beside them says why, and names an object."""
    several = [Series("a", ramp(), FIVE_MM), Series("b", ramp(), FIVE_MM, usable_3d=False)]
    out = Folder(str(ingested(folder / "slices", {"part-000000.parquet": several})), Access())
    out.publish("_run/spec.yaml", b"version: 1\n")
    index = Folder(str(folder / "index"), Access())
    index.publish("_run/spec.yaml", b"version: 1\nstages: [ct-index]\n")
    rows = [
        {
            "series_id": letter * 32,
            "patient_id": "p" * 32,
            "objects": 6,
            "slices": 5,
            "usable_2d": True,
            "usable_3d": letter == "a",
        }
        | {
            "reasons_2d": ["localizer: 1"],
            "reasons_3d": [] if letter == "a" else ["gap: of 12 mm"],
            "rows": 8,
            "columns": 6,
        }
        | {
            "members": [
                {"object_id": "o", "uri": f"/archive/{SECRET_NAME}.dcm", "offset": 0, "size": 1, "version": None}
            ]
        }
        for letter in "ab"
    ]
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, SERIES_SCHEMA), file)
    index.publish("series/part-0.parquet", file.getvalue())
    return out.uri


def curve_of(folder: Path) -> dict[str, object]:
    """A curve with one point, which is returned."""
    point: dict[str, object] = {
        "arm": "scratch",
        "labels": 4,
        "metric": "auc",
        "mean": 0.7,
        "deviation": 0.02,
        "seeds": 3,
    }
    primary = {"labels": 4, "metric": "auc"}
    report = {"points": [point], "primary": primary, "without_learning": {}, "arms": ["scratch"]}
    Folder(str(folder), Access()).publish("curve.json", json.dumps(report).encode())
    return point
