"""Decode HTJ2K with pylibjpeg-openjpeg, which pydicom asks for only where pylibjpeg itself is installed.

Legend: F frames, H rows, W columns.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SYNTAXES = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (201, 202, 203))


def stored_values(dataset: Dataset, frames: int, rows: int, columns: int) -> np.ndarray:
    """The stored values of every frame, FHW. Raises ValueError where a frame is not of the size that the header states, before it
    is decoded; what openjpeg raises for corrupt bytes otherwise."""
    from pydicom.encaps import generate_frames

    openjpeg: Any = import_module("openjpeg")
    decoded: list[np.ndarray] = []
    for frame in generate_frames(cast("Any", dataset).PixelData, number_of_frames=frames):
        stated = openjpeg.get_parameters(frame)
        if (stated["rows"], stated["columns"], stated["samples_per_pixel"]) != (rows, columns, 1):
            raise ValueError("a frame of another size")
        decoded.append(np.asarray(openjpeg.decode(frame)))
    return np.stack(decoded)
