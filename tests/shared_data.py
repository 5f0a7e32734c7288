"""Where the development data lies, beside the checkout; what needs it is marked `shared_data` and skipped without it."""

from __future__ import annotations

from pathlib import Path

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"
