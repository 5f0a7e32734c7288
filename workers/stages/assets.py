"""Files that keys of a stage name and that workers may be unable to reach, such as a painting on a store: sent as bytes."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

AssetKind = Literal["file", "checkpoint", "id key"]
"""One file; weights with their card (from a folder or a NAME.safetensors); or the key of keyed ids, which only jobs/ finds."""

AssetFiles = Mapping[str, bytes]
"""Contents by file name; the file that the key names comes first."""

_URI = re.compile(r"[a-z][a-z0-9+.-]*://")


def is_remote(place: str) -> bool:
    """Whether a location is on a store and can't be opened as a path."""
    return bool(_URI.match(place)) and not place.startswith("file://")


@contextmanager
def as_path(files: AssetFiles) -> Generator[Path]:
    """The path of the first file, written to disk with the others beside it; removed when the `with` block ends."""
    with tempfile.TemporaryDirectory(prefix="pixelmill-asset-") as folder:
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        yield Path(folder) / next(iter(files))
