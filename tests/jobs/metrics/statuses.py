"""A run with a name that has to be escaped, and what is known of its rows."""

from __future__ import annotations

from pixelmill.pipelines.events import RowsCounted, Status

RUN = 's3://archive/"quoted"\\out'
ROWS = RowsCounted(
    total=10,
    done=6,
    failed=1,
    reasons={"decode/NotAnImage": 1},
    busy_s={"fetch": 1.5, "embed": 4.0},
    batches={"embed": 8},
    workers=2,
    images_per_s=3.0,
    fetched_bytes=700,
    written_bytes=300,
    gpu_bytes=1 << 30,
    deaths=1,
)


def status(rows: RowsCounted = ROWS) -> Status:
    return Status(attempt=3, rows=rows)
