"""The tasks of networks on pictures. Imports no torch, so that planning can use it."""

from __future__ import annotations

from typing import Literal, get_args

Task = Literal["embed", "encode", "segment", "depth", "upscale", "stylize", "synthesize", "reconstruct", "classify"]
"""The tasks, with the output of a `PictureModel`'s module for a batch of pictures:

embed        one vector (loaded separately, by models/backbones.py)
encode       a latent code: the mean BD, and the logarithm of the variance BD if the network predicts it
segment      logits of the classes BKHW
depth        B1HW in the unit that `DepthFacts` states
upscale      red, green, blue B3HW in [0, 1], `SizeFacts.scale` times as high and wide
stylize      red, green, blue B3HW in [0, 1]
synthesize   red, green, blue B3HW in [0, 1], from class ids B1HW
reconstruct  the reconstructed picture, BCHW in [0, 1]
classify     logits of the classes BK
"""

WITH_CLASSES: frozenset[Task] = frozenset({"segment", "synthesize", "classify"})
"""The tasks whose output depends on the names of classes, or on their order."""

TASKS: tuple[Task, ...] = get_args(Task)

_VERBS: dict[Task, str] = {"depth": "estimate depth"}


def verb(task: Task) -> str:
    """A task in a sentence, as in "it can segment"."""
    return _VERBS.get(task, task)
