"""Runs and trainings from Python: `run`, `train` and `open_run` of `import pixelmill`, as the commands of their names.

Errors are the command's, as exceptions: PixelmillError and what derives from it (pixelmill.workers.errors), each with a
message that says what to do. The work itself runs in a process of its own, see `child.py`. `stage_api.py` has a function for
each kind of stage, `loaded.py` networks for one picture at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import yaml

from pixelmill.jobs import catalogue
from pixelmill.jobs.child import Request, run_in_child
from pixelmill.jobs.documents.parsing import read_file
from pixelmill.jobs.opened_run import OpenedRun
from pixelmill.workers.errors import JobError

Place = str | os.PathLike[str]
Document = Place | Mapping[str, object]
Overrides = Mapping[str, object]


def run(job: Document, *, overrides: Overrides | None = None, quiet: bool = False) -> OpenedRun:
    """Run a job, and open what was made. `job` is the path of a job file, its text (of more than one line), or a mapping."""
    if isinstance(job, Mapping):
        return run_mapping(job, "job", overrides, quiet=quiet)
    text = os.fspath(job)
    is_text = isinstance(job, str) and "\n" in job
    return _milled(text if is_text else read_file(text), "job" if is_text else text, overrides, quiet)


def train(
    recipe: Document,
    *,
    data: Place | Iterable[Place] | None = None,
    out: Place | None = None,
    init_from: Place | None = None,
    overrides: Overrides | None = None,
    quiet: bool = False,
) -> str:
    """Train a network, and return the URI of its checkpoint, which `load` takes. Call it again to resume it.

    `recipe` is the path of a recipe file, the name of a recipe or of a recipe file that ships, a text of more than one line,
    or a mapping. `init_from` is a checkpoint that a new training begins with.
    `overrides` are settings of the recipe, or keys of the file by their paths: {"epochs": 20, "run.workers": 2}.
    """
    text, name = _recipe(recipe)
    given: dict[str, object] = (
        {} if data is None else {"data": data if isinstance(data, str | os.PathLike) else list(data)}
    )
    given |= {} if out is None else {"out": out}
    given |= {} if init_from is None else {"init_from": init_from}
    return run_in_child(Request("train", text, name, (*_assignments(given), *_assignments(overrides)), quiet))


def open_run(out: Place) -> OpenedRun:
    """Open the output folder of a run, complete or not. JobError where there is none."""
    return OpenedRun.at(os.fspath(out))


def run_mapping(job: Mapping[str, object], name: str, overrides: Overrides | None, *, quiet: bool) -> OpenedRun:
    """Run a job that is a mapping; `name` is what messages call it."""
    return _milled(_as_yaml(job), name, overrides, quiet)


def _milled(text: str, name: str, overrides: Overrides | None, quiet: bool) -> OpenedRun:
    return open_run(run_in_child(Request("run", text, name, _assignments(overrides), quiet)))


def _recipe(recipe: Document) -> tuple[str, str]:
    """The text of a recipe, and what messages call it."""
    if isinstance(recipe, Mapping):
        return _as_yaml(recipe), "recipe"
    text = os.fspath(recipe)
    if isinstance(recipe, str) and "\n" in recipe:
        return text, "recipe"
    return catalogue.recipe_text(text), text


def _assignments(overrides: Overrides | None) -> tuple[str, ...]:
    """KEY=VALUE for each, as --set has them."""
    return tuple(f"{key}={_as_yaml(value)}" for key, value in (overrides or {}).items())


def _as_yaml(value: object) -> str:
    return yaml.safe_dump(_plain(value), sort_keys=False, allow_unicode=True)  # pyright: ignore[reportUnknownMemberType]


def _plain(value: object) -> object:
    """The value as a YAML file has it: paths are texts, tuples are lists, at any depth. JobError for what it can't have."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in cast("Sequence[object]", value)]
    if isinstance(value, os.PathLike):
        return os.fspath(cast("os.PathLike[str]", value))
    if value is None or isinstance(value, str | int | float):
        return value
    raise JobError(f"{value!r}: no job file can hold it; give texts, numbers, paths, lists and mappings")
