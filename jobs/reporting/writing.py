"""Write a report where it was asked for: a new file beside nothing else, in one step."""

from __future__ import annotations

from pathlib import Path

from pixelmill.jobs.places import absolute
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError


def place_of(out: str) -> tuple[Folder, str]:
    """The folder and the name of a report. JobError for a name that is not that of a page, before anything is read."""
    folder, _, name = absolute(out).rpartition("/")
    if not name.endswith((".html", ".htm")):
        raise JobError(f"--out {out}: is no page; give a name that ends in .html")
    made = Folder(folder, Access())
    if made.is_local and not Path(made.path).is_dir():
        raise JobError(f"--out {out}: its folder does not exist; make it first")
    return made, name


def write(place: tuple[Folder, str], page: str) -> None:
    """Replaces a page of the same name."""
    folder, name = place
    with explained(folder.uri, "writing the report"):
        folder.publish(name, page.encode())
