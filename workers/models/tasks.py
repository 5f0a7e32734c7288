"""What a network can be asked to do with a picture. Imports no torch, so that planning may ask."""

from __future__ import annotations

from typing import Literal, get_args

Task = Literal["embed", "encode", "segment", "depth", "upscale", "stylize", "synthesize", "reconstruct", "classify"]
"""What is made of one picture, and what the module of such a `PictureModel` gives for a batch of them:

embed        one vector (models/backbones.py has a seam of its own for it)
encode       a latent code: the mean BD, and where the network has one the logarithm of the variance BD
segment      logits of the classes BKHW
depth        B1HW in the unit that `DepthFacts` states
upscale      red, green, blue B3HW in [0, 1], `SizeFacts.scale` times as high and wide
stylize      red, green, blue B3HW in [0, 1]
synthesize   red, green, blue B3HW in [0, 1], from class ids B1HW
reconstruct  the picture again, BCHW in [0, 1]
classify     logits of the classes BK
"""

TASKS: tuple[Task, ...] = get_args(Task)
