"""What tests of an output share: an empty folder, one of a store that can't refuse, and a manifest of six inputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelmill.pipelines.outputs.segments import Segment, read_segments
from pixelmill.pipelines.stores import conditional
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from tests.pipelines.outputs.by_hand import NAMES, list_into


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "out"), Access(retry_for_s=0.0))


@pytest.fixture
def unfenced(folder: Folder) -> Folder:
    """A store that does not refuse to overwrite."""
    folder._writes = conditional.Unfenced(folder.store)
    folder.store.auto_mkdir = True
    return folder


@pytest.fixture
def segments(folder: Folder) -> list[Segment]:
    """A manifest of six inputs in two parts of three."""
    list_into(folder, 0, NAMES, [3, 3])
    return read_segments(folder)
