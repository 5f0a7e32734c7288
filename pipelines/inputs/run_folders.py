"""Leave out what a run keeps beside its rows, where the folder of one run is the source of another."""

from __future__ import annotations

import re

_SPEC = re.compile(r"(?P<run>(?:.*/)?)_run/spec\.yaml")
_BESIDE = re.compile(r"(?:^|(?<=/))(?:explore|failed)/")


class RunsListed:
    """The runs that a listing has come across. It gives the files of `_run/` before those of `explore/` and `failed/`, as
    every listing in the order of names does.
    """

    def __init__(self) -> None:
        self._folders = set[str]()

    def keep_beside_rows(self, name: str) -> bool:
        """Whether a file, named from the source on, is what a run keeps beside its rows: results of exploring it, such as
        sheets of pictures, and tables of its failures.
        """
        if spec := _SPEC.fullmatch(name):
            self._folders.add(spec["run"])
        return bool(self._folders) and any(name[: each.start()] in self._folders for each in _BESIDE.finditer(name))
