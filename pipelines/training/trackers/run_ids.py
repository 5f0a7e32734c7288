"""Remember under which id a tracker files a training, so that a resumed training is one run there."""

from __future__ import annotations

from pixelmill.pipelines.stores.folder import Folder


def stored_id(folder: Folder, tracker: str) -> str | None:
    """The id of earlier attempts; None at the first."""
    found = folder.read(_name(tracker))
    return found.decode() if found else None


def store_id(folder: Folder, tracker: str, run_id: str) -> None:
    folder.publish(_name(tracker), run_id.encode())


def _name(tracker: str) -> str:
    return f"_run/trackers/{tracker}.txt"
