"""Reconstruct for the contracts of stages: built quickly and offline, and another value for every key."""

QUICK = {"model": "autoencoder-mnist"}
CHANGED = {
    "model": "vae-mnist",
    "column": "other",
    "precision": "float32",
    "batch": 3,
    "channels_last": False,
    "compile": False,
    "backend": "torch",
}
