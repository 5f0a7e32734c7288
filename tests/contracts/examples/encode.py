"""Encode for the contracts of stages: built quickly and offline, and another value for every key."""

QUICK = {"model": "vae-mnist"}
CHANGED = {
    "model": "autoencoder-mnist",
    "column": "other",
    "output": "float16",
    "precision": "float32",
    "batch": 3,
    "channels_last": False,
    "compile": False,
    "backend": "torch",
}
