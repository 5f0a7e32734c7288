"""Publish the files that a tracker writes to a folder of this machine, as they grow."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path

from pixelmill.pipelines.stores.folder import Folder


class EventFiles:
    """A temporary folder, whose files are published below `name` in the output."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder, self._name = folder, name
        self.path = tempfile.mkdtemp(prefix="pixelmill-events-")
        self._published: dict[str, int] = {}
        # A tracker that failed is dropped without a further call.
        self._remove = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    def publish(self) -> None:
        """Publish every file that has grown since the last time."""
        for file in sorted(Path(self.path).rglob("*")):
            if not file.is_file() or file.is_symlink():
                continue
            name, size = file.relative_to(self.path).as_posix(), file.stat().st_size
            if self._published.get(name) != size:
                self._folder.publish(f"{self._name}/{name}", file.read_bytes())
                self._published[name] = size

    def remove(self) -> None:
        """Remove the temporary folder."""
        self._remove()
