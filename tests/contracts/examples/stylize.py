"""Stylize for the contracts of stages: a small network, and another value for every key."""

from tests.saved_networks import saved

QUICK: dict[str, object] = {"style": str(saved("faststyle", "style", width=4, blocks=1))}
CHANGED: dict[str, object] = {
    "style": "wave",
    "size_px": 16,
    "vgg": "other.safetensors",
    "steps": 3,
    "content_weight": 3.0,
    "style_weight": 3.0,
    "tv_weight": 3.0,
    "start": "content",
    "optimizer": "adam",
    "learning_rate": 0.5,
    "content_layers": ("relu1_1",),
    "style_layers": ("relu1_1",),
    "scale": "gatys",
    "pooling": "average",
    "seed": 7,
    "column": "other",
    "format": "jpeg",
    "precision": "float32",
    "batch": 3,
    "channels_last": False,
    "compile": False,
    "backend": "torch",
}
