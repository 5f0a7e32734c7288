"""A training as its recipe file has it: read, overridden, checked, before anything is started."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from pixelmill.jobs import extras
from pixelmill.jobs.documents.credentials import refuse_credentials
from pixelmill.jobs.documents.faults import KnownKeys, faults
from pixelmill.jobs.documents.overrides import override_key
from pixelmill.jobs.documents.parsing import Document, Parsed, parse
from pixelmill.jobs.documents.references import expanded, hidden_values
from pixelmill.jobs.identity import TrainingIdentity
from pixelmill.jobs.places import absolute
from pixelmill.jobs.training_spec import TrainSpec, known_keys, paths_of_all_keys
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError
from pixelmill.workers.models.zoo import zoo_path
from pixelmill.workers.recipes import Recipe, RecipeSettings
from pixelmill.workers.recipes.registry import RECIPES, recipe_type


@dataclass(frozen=True)
class TrainJob:
    """`document` is as it was written, for the run's record; `settings` are those of the recipe."""

    document: Document
    spec: TrainSpec
    recipe: type[Recipe]
    settings: RecipeSettings

    def identity(self) -> TrainingIdentity:
        """What may not change between a training and its resumption."""
        return {
            "recipe": self.spec.recipe,
            "settings": json.loads(self.settings.model_dump_json()),
            "data": self.spec.data_uris,
            "validation": self.spec.validation_uris,
            "hold_out": self.spec.hold_out,
        }

    def open_out(self) -> Folder:
        return Folder(absolute(self.spec.out), self.spec.access)


def read_recipe_file(text: str, *, name: str, overrides: list[str], environment: Mapping[str, str]) -> TrainJob:
    """Parse a recipe file; JobError with every fault. `--set epochs=20` means settings.epochs."""
    extras.require("train", name)
    parsed = parse(text, name=name, what="a recipe file is a mapping with recipe, data and out")
    for override in overrides:
        first = override.partition("=")[0].partition(".")[0]
        override_key(parsed.document, override if first in TrainSpec.model_fields else f"settings.{override}")
    refuse_credentials(parsed.document, name=name, environment=environment)
    with hidden_values(parsed.document, environment, name):
        return _checked(parsed, name, environment)


def _checked(parsed: Parsed, name: str, environment: Mapping[str, str]) -> TrainJob:
    try:
        train = TrainSpec.model_validate(expanded(parsed.document, environment, name))
    except ValidationError as error:
        lines = faults(error, known_keys(), parsed.root, parsed.document)
        raise JobError(f"{name}: this training can't be run\n" + "\n".join(lines)) from error
    if train.recipe not in RECIPES:
        raise JobError(f"{name}: recipe: there is no {train.recipe}; there are {', '.join(RECIPES)}")
    recipe = recipe_type(train.recipe)
    return TrainJob(parsed.document, train, recipe, _settings(recipe, train, name))


def _settings(recipe: type[Recipe], train: TrainSpec, name: str) -> RecipeSettings:
    try:
        return recipe.Settings.model_validate(with_places(recipe, train.settings))
    except ValidationError as error:
        lines = faults(
            error, known_settings(recipe.Settings, paths_of_all_keys())
        )  # --set lets `settings.` be left out
        raise JobError(f"{name}: settings of {recipe.NAME}\n" + "\n".join(lines)) from error


def known_settings(settings: type[BaseModel], everywhere: list[str] | None = None) -> KnownKeys:
    """The keys of a model without models within."""
    return KnownKeys(lambda _: list(settings.model_fields), everywhere or [])


def with_places(recipe: type[Recipe], settings: Mapping[str, object]) -> Document:
    """Settings whose assets are absolute: a path is written relative to where the command runs, and used elsewhere."""
    named = {name: settings.get(name) for name in recipe.ASSETS}
    files = {name: uri for name, uri in named.items() if isinstance(uri, str) and is_file(uri)}
    return {**settings, **{name: absolute(uri) for name, uri in files.items()}}


def is_file(asset: str) -> bool:
    """Whether an asset is a user's own, and neither torchvision's nor one that ships."""
    return not asset.startswith("torchvision:") and zoo_path(asset) is None
