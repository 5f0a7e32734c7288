"""Upscale for the contracts of stages: a small network, and another value for every key."""

from tests.saved_networks import saved

QUICK: dict[str, object] = {"model": str(saved("vdsr", "sharpener", depth=3, width=4))}
CHANGED: dict[str, object] = {
    "model": str(saved("vdsr", "other-sharpener", depth=4, width=4)),
    "scale": 3,
    "ensemble": 8,
    "column": "other",
    "format": "jpeg",
    "precision": "float32",
    "batch": 3,
    "channels_last": False,
    "compile": False,
    "backend": "torch",
}
