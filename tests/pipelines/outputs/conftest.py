"""What tests of an output share: an empty folder, one of a store that cannot refuse, six inputs, forty photographs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelmill.pipelines.outputs.segments import Segment, read_segments
from pixelmill.pipelines.stores import conditional
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from tests.pipelines.outputs import by_hand
from tests.pipelines.outputs.by_hand import NAMES
from tests.pipelines.outputs.listings import make_files


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
    by_hand.list_into(folder, 0, NAMES, [3, 3])
    return read_segments(folder)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    make_files(tmp_path / "photos", *(f"{number:03d}.jpg" for number in range(40)))
    return tmp_path / "photos"
