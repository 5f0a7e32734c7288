"""A run that holds a picture and its copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pixelmill.pipelines.stores.folder import Folder
from tests.pipelines.findings.explored import add_part, compressed, noise, open_out, vectors


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    """A picture and its copies; `unlike` has nearly the vector of the first and shows something else."""
    folder = open_out(tmp_path)
    picture = noise(0)
    shifted = np.roll(picture, 5, axis=1)
    pictures = [picture, picture, compressed(picture), shifted, noise(1), noise(2)]
    add_part(
        folder,
        ["a", "copy", "compressed", "shifted", "unlike", "alone"],
        vectors([1, 0, 0], [1, 0, 0], [0.7, 0.7, 0], [0.999, 0.01, 0], [0.999, 0, 0.01], [0, 0, 1]),
        pictures,
    )
    return folder
