"""Hounsfield units for the contracts of stages."""

QUICK: dict[str, object] = {}
CHANGED = {"column": "other"}
