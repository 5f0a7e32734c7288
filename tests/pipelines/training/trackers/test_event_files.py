"""Files of a tracker are published as they grow, and the temporary folder goes with them."""

from __future__ import annotations

from pathlib import Path

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training.trackers.event_files import EventFiles


def test_files_that_grow_are_published_again_and_the_folder_is_removed(tmp_path: Path) -> None:
    files = EventFiles(Folder(str(tmp_path), Access()), "kept")
    local = Path(files.path)
    (local / "a").mkdir()
    (local / "a/events").write_text("one")
    files.publish()
    (local / "a/events").write_text("one, two")
    files.publish()
    assert (tmp_path / "kept/a/events").read_text() == "one, two"
    (tmp_path / "kept/a/events").unlink()
    files.publish()
    assert not (tmp_path / "kept/a/events").exists()  # nothing grew
    files.remove()
    assert not local.exists()


def test_a_folder_that_nobody_removed_goes_with_its_owner(tmp_path: Path) -> None:
    files = EventFiles(Folder(str(tmp_path), Access()), "kept")
    local = Path(files.path)
    del files
    assert not local.exists()
