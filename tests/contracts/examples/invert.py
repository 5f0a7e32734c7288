"""Invert for the contracts of stages: it has no keys."""

QUICK: dict[str, object] = {}
CHANGED: dict[str, object] = {}
