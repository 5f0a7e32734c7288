"""Threshold for the contracts of stages."""

QUICK: dict[str, object] = {}
CHANGED: dict[str, object] = {"level": 7, "column": "other", "refuse_black": True, "batch": 3}
