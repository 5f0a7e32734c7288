"""Classify for the contracts of stages: a network that is built quickly and offline, and another value for every key."""

QUICK = {"model": "torchvision:squeezenet1_1/random"}
CHANGED = {
    "model": "torchvision:squeezenet1_0/random",
    "top": 3,
    "column": "other",
    "precision": "float32",
    "batch": 3,
    "channels_last": False,
    "compile": False,
    "backend": "torch",
}
