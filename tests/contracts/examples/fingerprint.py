"""Fingerprint for the contracts of stages."""

QUICK: dict[str, object] = {}
CHANGED: dict[str, object] = {"column": "other", "thumbnail_px": 32}
