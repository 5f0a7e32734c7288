"""Segment for the contracts of stages: a network that ships, and another value for every key."""

QUICK = {"model": "unet-camvid"}
CHANGED = {
    "model": "fcn8s-camvid",
    "column": "other",
    "encoding": "rle",
    "resize_px": 64,
    "flip": True,
    "scales": (0.5, 1.0),
    "window_px": 32,
    "overlap": 0.25,
    "precision": "float32",
    "batch": 3,
    "channels_last": False,
    "compile": False,
    "backend": "torch",
}
