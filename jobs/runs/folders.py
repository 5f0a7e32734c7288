"""Find runs, trainings and flows by what their folders hold."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from pixelmill.jobs.documents.kinds import Kind
from pixelmill.jobs.places import absolute
from pixelmill.pipelines.inputs.names import is_local
from pixelmill.pipelines.outputs import claims
from pixelmill.pipelines.stores.access import Access, join
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError

SPECS: dict[str, Kind] = {"_run/spec.yaml": "job", "_run/recipe.yaml": "training", "_run/flow.yaml": "flow"}
"""The file that says what a folder holds, as it was run."""
SUBMISSIONS = "_run/submissions"
DEEPEST = 3
"""How many folders below a store `jobs` looks."""
MOST_FOLDERS = 5_000


@dataclass(frozen=True)
class RunFolder:
    """A folder with something of ours in it; `kind` and `spec` are None before its first attempt has signed it."""

    folder: Folder
    kind: Kind | None
    spec: str | None

    @property
    def uri(self) -> str:
        return self.folder.uri


def open_any(uri: str) -> RunFolder:
    """The run, training or flow in a folder. Raises JobError where there is none."""
    folder = Folder(absolute(uri), Access())
    with explained(uri, "reading the output folder"):
        found = found_in(folder)
    if found is None:
        raise JobError(
            f"{uri}: there is no run here (no _run/ with a job, a training or a flow); `pixelmill jobs FOLDER` lists the runs "
            "below a folder"
        )
    return found


def found_in(folder: Folder) -> RunFolder | None:
    """What a folder holds; None where nothing of ours."""
    names = {f"_run/{name}" for name in folder.names("_run")}
    for spec, kind in SPECS.items():
        if spec in names:
            return RunFolder(folder, kind, spec)
    if folder.names(SUBMISSIONS) or folder.folders(claims.ATTEMPTS):
        return RunFolder(folder, None, None)
    return None


def runs_below(uri: str) -> Iterator[RunFolder]:
    """The runs in a folder and below it, in the order of their names. Raises JobError for a folder of this machine
    that does not exist, and StoreError where it can't be listed."""
    top = absolute(uri)
    if is_local(top) and not os.path.isdir(top):
        raise JobError(f"{uri}: there is no such folder; check its name")
    with explained(uri, "listing the folder"):
        waiting, looked_at = [(Folder(top, Access()), 0)], 0
        while waiting and looked_at < MOST_FOLDERS:
            folder, depth = waiting.pop(0)
            looked_at += 1
            inner = folder.folders("")
            if "_run" in inner and (found := found_in(folder)) is not None:
                yield found
                if found.kind != "flow":
                    continue
            if depth < DEEPEST:
                below = [name for name in inner if not name.startswith((".", "_"))]
                waiting += [(Folder(join(folder.uri, name), Access()), depth + 1) for name in below]
