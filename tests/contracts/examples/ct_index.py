"""The index of headers for the contracts of stages."""

from __future__ import annotations

import torch

from pixelmill.workers.pictures import Picture
from tests.workers.ct.objects import a_slice, saved

QUICK = {"key": "key"}
CHANGED = {"key": "other", "picture_intercept_hu": -1024.0, "patient_pattern": "(a)"}
ASSETS = {"key": {"key": b"0123456789abcdef"}}


def pictures() -> list[Picture]:
    """The headers of a small series."""
    return [header(saved(a_slice(number))) for number in range(5)]


def header(data: bytes) -> Picture:
    return Picture(torch.frombuffer(bytearray(data), dtype=torch.uint8)[None, None], "header")
