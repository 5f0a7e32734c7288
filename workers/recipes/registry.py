"""Every recipe that `pixelmill train` knows; each is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import cast

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.card import Card
from pixelmill.workers.recipes import Recipe

RECIPES: dict[str, str] = {
    "autoencoder": "pixelmill.workers.recipes.autoencoder:AutoencoderRecipe",
    "vae": "pixelmill.workers.recipes.vae:VaeRecipe",
    "fcn": "pixelmill.workers.recipes.fcn:FcnRecipe",
    "segnet": "pixelmill.workers.recipes.segnet:SegNetRecipe",
    "unet": "pixelmill.workers.recipes.unet:UNetRecipe",
    "monodepth": "pixelmill.workers.recipes.monodepth:MonodepthRecipe",
    "vdsr": "pixelmill.workers.recipes.vdsr:VdsrRecipe",
    "faststyle": "pixelmill.workers.recipes.faststyle:FastStyleRecipe",
    "crn": "pixelmill.workers.recipes.crn:CrnRecipe",
    "crn-labels": "pixelmill.workers.recipes.crn:LabelledCrnRecipe",
    "finetune": "pixelmill.workers.recipes.finetune:FinetuneRecipe",
    "finetune-dense": "pixelmill.workers.recipes.finetune:DenseRecipe",
}
"""The place of each recipe's class, by the name that a job calls it."""


def recipe_type(name: str) -> type[Recipe]:
    """The recipe of this name; KeyError when there is none."""
    module, _, attribute = RECIPES[name].partition(":")
    return cast("type[Recipe]", getattr(import_module(module), attribute))


def recipe_of(
    card: Card, changes: Mapping[str, object] | None = None, assets: Mapping[str, Path] | None = None
) -> Recipe:
    """The recipe that a checkpoint was trained by, to judge it or to read data for it; ModelError where there is none.

    `changes` are put in the place of the card's settings; ValidationError where they are wrong. A card keeps only the
    names of assets, so that those that judge have to be given.
    """
    if card.recipe not in RECIPES:
        raise ModelError(f"the card names the recipe {card.recipe}, and there are {', '.join(RECIPES)}")
    kind = recipe_type(card.recipe)
    settings: dict[str, object] = {**card.settings, **(changes or {})}
    if "classes" in kind.Settings.model_fields and settings.get("classes") is None:
        settings["classes"] = card.config.get("classes")  # the network knows them where the data names none
    return kind(kind.Settings.model_validate(settings), assets or {})
