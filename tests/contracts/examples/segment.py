"""Segment for the contracts of stages: a network that ships, and another value for every key."""

QUICK = {"model": "unet-camvid"}
CHANGED = {
    "model": "fcn8s-camvid",
    "column": "other",
    "encoding": "rle",
    "resize_px": 64,
    "precision": "float32",
    "batch": 3,
    "channels_last": False,
    "compile": False,
}
