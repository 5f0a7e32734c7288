"""Embed for the contracts of stages: built quickly and offline, and another value for every key."""

QUICK = {"model": "torchvision:squeezenet1_1/random"}
CHANGED = {
    "model": "torchvision:squeezenet1_0/random",
    "layer": "features.3",
    "pooling": "max",
    "column": "other",
    "output": "float16",
    "precision": "float32",
    "batch": 3,
    "channels_last": False,
    "compile": False,
    "backend": "torch",
}
