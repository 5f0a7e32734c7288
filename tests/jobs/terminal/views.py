"""Views as a test wants them: by phase and counts."""

from __future__ import annotations

from typing import Any

from pixelmill.jobs.terminal.views import BulkView
from pixelmill.pipelines.events import RowsCounted, Status


def view(phase: str = "checking the job", found: int = 0, **rows: Any) -> BulkView:
    """Of a bulk run with these counts, see `RowsCounted`."""
    return BulkView(Status(phase=phase, found=found, rows=RowsCounted(**rows)))


MILLING = view(
    "milling",
    total=12_000,
    done=2_990,
    failed=10,
    reasons={"decode/Truncated": 7, "fetch/NotFound": 3},
    busy_s={"fetch": 10.0, "embed": 60.0},
    workers=2,
    working_s=50.0,
    images_per_s=60.0,
)
