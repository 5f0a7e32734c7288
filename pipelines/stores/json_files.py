"""Small JSON files that others write and that may be missing or half written."""

from __future__ import annotations

import json
from typing import Any, cast


def mapping_in(data: bytes | None) -> dict[str, Any]:
    """The object in a file; empty where there is no file, and where it holds anything else."""
    try:
        found: object = json.loads(data or b"{}")
    except (ValueError, RecursionError):  # nested ten thousand times
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}
