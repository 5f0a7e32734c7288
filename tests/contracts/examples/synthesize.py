"""Synthesize for the contracts of stages: a small network, and another value for every key."""

from pixelmill.workers.models.picture_model import Classes
from tests.saved_networks import saved

CLASSES = Classes(("lawn", "path", "pond"), ((0, 200, 0), (200, 200, 200), (0, 0, 200)))
LEVELS = 3


def network(name: str, width: int) -> str:
    widths = (width, width, width)
    return str(saved("crn", name, CLASSES, classes=LEVELS, start_px=(4, 4), widths=widths, outputs=2))


QUICK: dict[str, object] = {"model": network("garden", 8)}
CHANGED: dict[str, object] = {
    "model": network("other-garden", 6),
    "palette": {"lawn": (1, 2, 3), "path": (4, 5, 6), "pond": (7, 8, 9)},
    "tolerance": 7.0,
    "size": "network",
    "output": 2,
    "column": "other",
    "format": "jpeg",
    "precision": "float32",
    "batch": 3,
    "channels_last": False,
    "compile": False,
    "backend": "torch",
}
