"""Pixelmill from Python: the functions that `import pixelmill` gives. They do what the commands of their names do.

Errors are the command's, as exceptions: PixelmillError and what derives from it (pixelmill.workers.errors), each with a
message that says what to do. The work itself runs in a process of its own, see `child.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import yaml

from pixelmill.jobs import catalogue
from pixelmill.jobs.child import Request, run_in_child
from pixelmill.jobs.documents.credentials import refuse_credentials
from pixelmill.jobs.documents.parsing import read_file
from pixelmill.jobs.opened_run import OpenedRun
from pixelmill.jobs.places import absolute
from pixelmill.workers.errors import JobError

if TYPE_CHECKING:
    from torch import nn

    from pixelmill.workers.models.card import Card

Place = str | os.PathLike[str]
Document = Place | Mapping[str, object]
Overrides = Mapping[str, object]


def embed(
    source: Place | Iterable[Place],
    out: Place,
    *,
    model: Place | None = None,
    overrides: Overrides | None = None,
    quiet: bool = False,
) -> OpenedRun:
    """Embed every picture of `source` into `out`, and open what was made. Call it again to resume it, or for what is new.

    `source` is a folder, a glob, a .tar, a .parquet or a list of URIs, local or in a store, or several; `model` is
    torchvision:NAME, timm:NAME, FILE.safetensors or the name of a network that ships. `overrides` are keys of the job file by
    their paths: {"run.actors": 2, "stages.0.batch": 16}. Inputs that fail are no error: see `failed()` of the result.
    """
    stage = {} if model is None else {"model": model}
    places = source if isinstance(source, str | os.PathLike) else list(source)
    job = {"version": 1, "source": places, "out": out, "stages": [{"embed": stage}]}
    return _milled(_as_yaml(job), "embed", overrides, quiet)


def run(job: Document, *, overrides: Overrides | None = None, quiet: bool = False) -> OpenedRun:
    """Run a job, and open what was made. `job` is the path of a job file, its text (of more than one line), or a mapping."""
    if isinstance(job, Mapping):
        return _milled(_as_yaml(job), "job", overrides, quiet)
    text = os.fspath(job)
    is_text = isinstance(job, str) and "\n" in job
    return _milled(text if is_text else read_file(text), "job" if is_text else text, overrides, quiet)


def train(
    recipe: Document,
    *,
    data: Place | Iterable[Place] | None = None,
    out: Place | None = None,
    overrides: Overrides | None = None,
    quiet: bool = False,
) -> str:
    """Train a network, and return the URI of its checkpoint, which `load` takes. Call it again to resume it.

    `recipe` is the path of a recipe file, the name of a recipe or of a recipe file that ships, a text of more than one line,
    or a mapping. `overrides` are settings of the recipe, or keys of the file by their paths: {"epochs": 20, "run.workers": 2}.
    """
    text, name = _recipe(recipe)
    given: dict[str, object] = (
        {} if data is None else {"data": data if isinstance(data, str | os.PathLike) else list(data)}
    )
    given |= {} if out is None else {"out": out}
    return run_in_child(Request("train", text, name, (*_assignments(given), *_assignments(overrides)), quiet))


def open_run(out: Place) -> OpenedRun:
    """Open the output folder of a run, complete or not. JobError where there is none."""
    return OpenedRun.at(os.fspath(out))


def load(checkpoint: Place) -> tuple[nn.Module, Card]:
    """The network of a checkpoint, in eval mode and on the CPU, and its card.

    `checkpoint` is a folder that training wrote, a NAME.safetensors with its card beside it, on any store, or the name of one
    that ships. No pickle is loaded.
    """
    from pixelmill.pipelines.stores.access import Access
    from pixelmill.pipelines.training import checkpoints
    from pixelmill.workers.models.zoo import zoo_path

    uri = os.fspath(checkpoint)
    refuse_credentials(uri)
    return checkpoints.load_from_store(uri if zoo_path(uri) is not None else absolute(uri), Access())


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
