"""Files that a stage's keys name and its workers may not reach, such as a painting on a store: they travel as bytes."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

AssetKind = Literal["file", "checkpoint"]
"""One file; or weights and their card, of a folder or of a NAME.safetensors."""

AssetFiles = Mapping[str, bytes]
"""Contents by name, the file that the key names first."""

_URI = re.compile(r"[a-z][a-z0-9+.-]*://")


def is_remote(place: str) -> bool:
    """Whether a place is on a store, so that it can't be opened as a path."""
    return bool(_URI.match(place)) and not place.startswith("file://")


@contextmanager
def as_path(files: AssetFiles) -> Generator[Path]:
    """The first of the files on disk, the others beside it, for as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix="pixelmill-asset-") as folder:
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        yield Path(folder) / next(iter(files))
