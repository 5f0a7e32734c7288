"""Every recipe that `pixelmill train` knows; each is imported on first use."""

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
    "ct-autoencoder": "pixelmill.workers.recipes.ct_autoencoder:CtAutoencoderRecipe",
    "ct-finetune": "pixelmill.workers.recipes.ct_finetune:CtFinetuneRecipe",
    "finetune": "pixelmill.workers.recipes.finetune:FinetuneRecipe",
    "finetune-dense": "pixelmill.workers.recipes.finetune:DenseRecipe",
}
"""The import path of each recipe's class, by its name in jobs."""


def recipe_type(name: str) -> type[Recipe]:
    """The recipe of this name; KeyError if there is none."""
    module, _, attribute = RECIPES[name].partition(":")
    return cast("type[Recipe]", getattr(import_module(module), attribute))


def recipe_of(
    card: Card, changes: Mapping[str, object] | None = None, assets: Mapping[str, Path] | None = None
) -> Recipe:
    """The recipe that trained a checkpoint, for evaluation or for reading its data; ModelError if it does not exist.

    `changes` override the card's settings; ValidationError if they are invalid. A card stores only the names of assets, so the
    assets of an evaluation have to be passed.
    """
    if card.recipe not in RECIPES:
        raise ModelError(f"the card names the recipe {card.recipe}, and there are {', '.join(RECIPES)}")
    kind = recipe_type(card.recipe)
    settings: dict[str, object] = {**card.settings, **(changes or {})}
    if "classes" in kind.Settings.model_fields and settings.get("classes") is None:
        settings["classes"] = card.config.get("classes")  # from the network, if the data names none
    return kind(kind.Settings.model_validate(settings), assets or {})
