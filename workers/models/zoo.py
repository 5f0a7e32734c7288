"""The checkpoints that ship: their names and locations. Imports no torch, so that planning can use it."""

from __future__ import annotations

import re
from pathlib import Path

ZOO = Path(__file__).parents[1] / "zoo"


def zoo_path(name: str) -> Path | None:
    """The path to the weights of a checkpoint that ships, by its name; None if there is none."""
    path = ZOO / f"{name}.safetensors"
    return path if re.fullmatch(r"[\w.-]+", name) and path.exists() else None


def zoo_names() -> list[str]:
    """Every checkpoint that ships."""
    return sorted(path.stem for path in ZOO.glob("*.safetensors"))
