"""Enlarge for the contracts of stages."""

QUICK: dict[str, object] = {}
CHANGED: dict[str, object] = {"column": "larger", "refuse_wider_than": 7}
