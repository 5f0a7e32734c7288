"""Deadlines as a user writes them: a time with its zone, or how long something may take."""

from __future__ import annotations

import re
from datetime import datetime

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|h|d)")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def checked_deadline(written: str) -> str:
    """The deadline as it was written. Raises ValueError where it is none."""
    seconds_until(written, now_s=0.0)
    return written


def seconds_until(written: str, now_s: float) -> float:
    """How long something may still take that begins now, at `now_s` since 1970; negative once a time has passed."""
    if match := _DURATION.fullmatch(written.strip()):
        return float(match[1]) * _SECONDS[match[2]]
    try:
        at = datetime.fromisoformat(written)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ValueError(
            f"{written} is neither a duration, as 6h, 90min or 2d, nor a time with its zone, as 2026-12-01T06:00+01:00"
        )
    return at.timestamp() - now_s
