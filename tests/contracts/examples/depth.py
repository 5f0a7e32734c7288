"""Depth for the contracts of stages: the network that ships is small, and another one is made for comparison."""

import atexit
import shutil
import tempfile
from pathlib import Path

from pixelmill.workers.stages.depth import Camera
from tests.workers.pairs import saved_network

_folder = Path(tempfile.mkdtemp(prefix="pixelmill-contracts-"))
atexit.register(shutil.rmtree, _folder, ignore_errors=True)

QUICK: dict[str, object] = {}
CHANGED = {
    "model": saved_network(_folder),
    "camera": Camera(focal_px=300, baseline_m=0.5),
    "flip": True,
    "column": "other",
    "precision": "float32",
    "batch": 3,
    "channels_last": False,
    "compile": False,
    "backend": "torch",
}
