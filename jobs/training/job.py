"""A training as its recipe file describes it, checked before anything is started."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydantic import BaseModel, ValidationError

from pixelmill.jobs import extras
from pixelmill.jobs.documents.faults import KnownKeys, faults
from pixelmill.jobs.documents.parsing import Document
from pixelmill.jobs.documents.reading import checked, read_document
from pixelmill.jobs.identity import TrainingIdentity
from pixelmill.jobs.places import absolute
from pixelmill.jobs.training.spec import TrainSpec, is_published_name, known_keys, paths_of_all_keys
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training.initial import InitialWeights
from pixelmill.pipelines.training.protocol import TESTED, Protocol
from pixelmill.workers.errors import JobError
from pixelmill.workers.models.vgg_names import is_published
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
    initial: InitialWeights | None = None
    """The checkpoint that a new training begins with, once it was found."""

    @property
    def begun_by(self) -> str | None:
        """The setting by which the recipe takes `init_from` itself."""
        return None if self.spec.init_from is None else taken_by(self.recipe, self.spec.init_from)

    def beginning_with(self, initial: InitialWeights) -> TrainJob:
        """The training with the settings that its checkpoint decides."""
        given = self.settings.model_dump(mode="json", exclude_unset=True)
        return replace(
            self, initial=initial, settings=self.recipe.Settings.model_validate({**initial.adopted, **given})
        )

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
        if self.spec.initial_uri is not None:
            identity["init_from"] = self.spec.initial_uri
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
        return recipe.Settings.model_validate(with_places(recipe, _begun(recipe, train, name)))
    except ValidationError as error:
        lines = faults(error, known_settings(recipe.Settings, paths_of_all_keys()))
        raise JobError(f"{name}: settings of {recipe.NAME}\n" + "\n".join(lines)) from error


def _begun(recipe: type[Recipe], train: TrainSpec, name: str) -> Mapping[str, object]:
    """The settings with `init_from` as the one by which the recipe takes it. Raises JobError for weights that it can't take."""
    uri, settings = train.init_from, train.settings
    if uri is None:
        return settings
    setting = taken_by(recipe, uri)
    if setting is None and is_published_name(uri):
        raise JobError(
            f"{name}: init_from: {uri} is no {recipe.NETWORK}; take a checkpoint of one; of published weights, those of "
            "VGG-16 begin fcn and segnet: torchvision:VGG16_Weights.IMAGENET1K_V1"
        )
    others = [key for key in _beginnings(recipe) if settings.get(key) is not None]
    others += ["scratch"] if settings.get("scratch") else []
    if others:
        raise JobError(f"{name}: init_from and settings.{others[0]} contradict each other; leave one of them out")
    return settings if setting is None else {**settings, setting: uri}


def taken_by(recipe: type[Recipe], uri: str) -> str | None:
    """The setting by which a recipe begins with weights that are not of its whole network: an encoder, a trunk."""
    begins = _beginnings(recipe)
    if "checkpoint" in begins and not is_published_name(uri):
        return "checkpoint"
    return "vgg" if "vgg" in begins and is_published(uri) else None


def _beginnings(recipe: type[Recipe]) -> list[str]:
    """The settings that name initial weights; `vgg` without a convention is a loss network."""
    fields = recipe.Settings.model_fields
    trunk = ["vgg"] if "vgg_convention" in fields else []
    return [*(["checkpoint"] if "checkpoint" in recipe.ASSETS else []), *trunk]


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
