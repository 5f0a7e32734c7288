"""A training as its recipe file describes it, checked before anything is started."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from pixelmill.jobs import extras
from pixelmill.jobs.documents.faults import KnownKeys, faults
from pixelmill.jobs.documents.parsing import Document
from pixelmill.jobs.documents.reading import checked, read_document
from pixelmill.jobs.identity import TrainingIdentity
from pixelmill.jobs.places import absolute
from pixelmill.jobs.training_spec import TrainSpec, known_keys, paths_of_all_keys
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training.protocol import TESTED, Protocol
from pixelmill.workers.errors import JobError
from pixelmill.workers.models.zoo import zoo_path
from pixelmill.workers.recipes import Recipe, RecipeSettings
from pixelmill.workers.recipes.registry import RECIPES, recipe_type


@dataclass(frozen=True)
class TrainJob:
    """A training: `document` is the file as written, for the record of the run; `settings` are those of the recipe."""

    document: Document
    spec: TrainSpec
    recipe: type[Recipe]
    settings: RecipeSettings

    def identity(self, protocol: Protocol = TESTED) -> TrainingIdentity:
        """What must be the same for a training to be resumed. The first protocol has no key."""
        identity: TrainingIdentity = {
            "recipe": self.spec.recipe,
            "settings": json.loads(self.settings.model_dump_json()),
            "data": self.spec.data_uris,
            "validation": self.spec.validation_uris,
            "hold_out": self.spec.hold_out,
        }
        if self.spec.test_part:
            identity["test"] = self.spec.test_part
        if protocol != 1:
            identity["protocol"] = protocol
        return identity

    def completed(self, stored: Mapping[str, object]) -> Mapping[str, object]:
        """Settings as an earlier version stored them, with the defaults of those that it did not have."""
        try:
            return json.loads(self.recipe.Settings.model_validate(stored).model_dump_json())
        except ValidationError:  # of another recipe, or of values that are no longer allowed: each is reported as it is
            return stored

    def open_out(self) -> Folder:
        return Folder(absolute(self.spec.out), self.spec.access)


def read_recipe_file(text: str, *, name: str, overrides: list[str], environment: Mapping[str, str]) -> TrainJob:
    """The training of a recipe file. Raises JobError with every fault. `--set epochs=20` means settings.epochs."""
    extras.require("train", name)
    what = "a recipe file is a mapping with recipe, data and out"
    parsed = read_document(text, name=name, what=what, overrides=map(_of_the_file, overrides))
    with checked(parsed, TrainSpec, known_keys(), name=name, kind="training", environment=environment) as train:
        if train.recipe not in RECIPES:
            raise JobError(f"{name}: recipe: there is no {train.recipe}; there are {', '.join(RECIPES)}")
        recipe = recipe_type(train.recipe)
        return TrainJob(parsed.document, train, recipe, _settings(recipe, train, name))


def _of_the_file(override: str) -> str:
    """An override by its whole path: `settings.` may be left out."""
    first = override.partition("=")[0].partition(".")[0]
    return override if first in TrainSpec.model_fields else f"settings.{override}"


def _settings(recipe: type[Recipe], train: TrainSpec, name: str) -> RecipeSettings:
    try:
        return recipe.Settings.model_validate(with_places(recipe, train.settings))
    except ValidationError as error:
        lines = faults(error, known_settings(recipe.Settings, paths_of_all_keys()))
        raise JobError(f"{name}: settings of {recipe.NAME}\n" + "\n".join(lines)) from error


def known_settings(settings: type[BaseModel], everywhere: list[str] | None = None) -> KnownKeys:
    """The keys of settings that hold no mappings; `everywhere` are those of the file around them."""
    return KnownKeys(lambda _: list(settings.model_fields), everywhere or [])


def with_places(recipe: type[Recipe], settings: Mapping[str, object]) -> Document:
    """Settings with absolute paths of assets: a path is relative to where the command runs, and is used elsewhere."""
    named = {name: settings.get(name) for name in recipe.ASSETS}
    files = {name: uri for name, uri in named.items() if isinstance(uri, str) and is_file(uri)}
    return {**settings, **{name: absolute(uri) for name, uri in files.items()}}


def is_file(asset: str) -> bool:
    """Whether an asset is a file of the user: neither torchvision's weights nor a file that ships."""
    return not asset.startswith("torchvision:") and zoo_path(asset) is None
