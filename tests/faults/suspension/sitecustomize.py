"""Loaded by every Python process of a command under test: shortens its leases, and suspends one process at a named moment.

PIXELMILL_TEST_TIMES   JSON: constants of pipelines/outputs/claims.py and pipelines/stores/local_disk.py, as {"LEASE_S": 3}
PIXELMILL_TEST_MOMENT  JSON: the write at which the first process to come there stops itself with SIGSTOP; see `Moment`
PIXELMILL_TEST_CLOCK_S  by how much the clock of the command is wrong

The folder of this file is put on PYTHONPATH, which Ray's workers inherit. Nothing of it is part of the product.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

CLOCK, right_time = "PIXELMILL_TEST_CLOCK_S", time.time
Patch = Callable[[ModuleType], None]


class Moment:
    """`when` it is, a pattern of the `file` in the output folder, and the `marker` that the suspended process makes.

    reading   a look of Folder at the file is about to begin
    before    a write of Folder is about to begin
    after     it has been done
    landing   the file is on its way: past every look, so that only the store itself can refuse it
    """

    def __init__(self, when: str, file: str, marker: str) -> None:
        self.when, self._file, self._marker = when, re.compile(file), marker

    def reached(self, when: str, name: str) -> None:
        """Suspend this process if this is the moment, and no process has been suspended yet."""
        if when != self.when or not self._file.search(name):
            return
        try:
            os.close(os.open(self._marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGSTOP)


def around_calls(moment: Moment) -> Patch:
    """Of pipelines/stores/folder.py."""

    def patch(module: ModuleType) -> None:
        for method in ("publish", "create", "replace"):
            setattr(module.Folder, method, watched(getattr(module.Folder, method), "before", "after"))
        for method in ("read", "read_tagged"):
            setattr(module.Folder, method, watched(getattr(module.Folder, method), "reading", "read"))

    def watched(call: Callable[..., Any], before: str, after: str) -> Callable[..., Any]:
        def wrapper(folder: Any, name: str, *arguments: Any) -> Any:
            moment.reached(before, name)
            result = call(folder, name, *arguments)
            moment.reached(after, name)
            return result

        return wrapper

    return patch


def behind_the_last_look(moment: Moment) -> Patch:
    """Of pipelines/stores/conditional.py: the write of a store without conditions."""

    def patch(module: ModuleType) -> None:
        module.write_whole = Stopping(module, moment, ("write_whole",)).write_whole

    return patch


def before_a_file_gets_its_name(moment: Moment) -> Patch:
    """Of pipelines/stores/local_disk.py."""

    def patch(module: ModuleType) -> None:
        module.os = Stopping(os, moment, ("link", "replace"))

    return patch


class Stopping:
    """A module or a store of which some functions come to the moment first; a path is their first or second argument."""

    def __init__(self, real: Any, moment: Moment, functions: Sequence[str]) -> None:
        self._real, self._moment, self._functions = real, moment, functions

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if name not in self._functions:
            return real

        def stopping(*arguments: Any, **options: Any) -> Any:
            for argument in arguments:
                if isinstance(argument, str):
                    self._moment.reached("landing", argument)
            return real(*arguments, **options)

        return stopping


def constants(values: dict[str, float]) -> Patch:
    """Set those of these that a module has."""

    def patch(module: ModuleType) -> None:
        for name in values.keys() & vars(module).keys():
            setattr(module, name, values[name])

    return patch


class Finder:
    """Patches some modules when they are imported."""

    def __init__(self, patches: dict[str, list[Patch]]) -> None:
        self._patches = patches

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        patches = self._patches.get(name, [])
        spec = PathFinder.find_spec(name, path, target) if patches else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def patched(module: ModuleType) -> None:
            execute(module)
            for patch in patches:
                patch(module)

        spec.loader.exec_module = patched
        return spec


def wrong_time() -> float:
    """In the place of `time.time`; a function of this module, so that Ray can send it."""
    return right_time() + float(os.environ[CLOCK])


def install() -> None:
    if CLOCK in os.environ:
        time.time = wrong_time
    times, stop = constants(json.loads(os.environ.get("PIXELMILL_TEST_TIMES", "{}"))), "PIXELMILL_TEST_MOMENT"
    patches: dict[str, list[Patch]] = {
        "pixelmill.pipelines.outputs.claims": [times],
        "pixelmill.pipelines.stores.local_disk": [times],
    }
    if stop in os.environ:
        moment = Moment(**json.loads(os.environ[stop]))
        patches["pixelmill.pipelines.stores.conditional"] = [behind_the_last_look(moment)]
        patches["pixelmill.pipelines.stores.local_disk"].append(before_a_file_gets_its_name(moment))
        patches["pixelmill.pipelines.stores.folder"] = [around_calls(moment)]
    sys.meta_path.insert(0, Finder(patches))  # pyright: ignore[reportArgumentType]


if any(name.startswith("PIXELMILL_TEST_") for name in os.environ):
    install()
