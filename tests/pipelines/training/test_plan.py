"""A plan of a training is plain data that travels, and what it builds follows from it."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError

from pixelmill.workers.recipes.vae import VaeRecipe
from tests.pipelines.training.trainings import plan_of


def test_a_plan_arrives_at_its_worker_as_it_was_sent(pictures: str, tmp_path: Path) -> None:
    plan = plan_of(pictures, tmp_path / "out", {"seed": 7})
    there = pickle.loads(pickle.dumps(plan))
    assert (there.settings, there.split, there.trained_on) == (plan.settings, plan.split, plan.trained_on)
    assert there.train.names() == plan.train.names()
    assert there.recipe_settings() == plan.recipe_settings()


def test_a_recipe_is_built_with_the_settings_of_its_plan(pictures: str, tmp_path: Path) -> None:
    plan = plan_of(pictures, tmp_path / "out", {"latent_size": 5, "seed": 7})
    recipe = plan.built({})
    assert isinstance(recipe, VaeRecipe)
    assert recipe.settings == plan.recipe_settings()
    assert (plan.recipe_settings().seed, recipe.settings.latent_size) == (7, 5)


def test_a_setting_that_its_recipe_does_not_have_is_refused_by_its_name(pictures: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="latent_sise"):
        plan_of(pictures, tmp_path / "out", {"latent_sise": 5}).recipe_settings()


def test_a_recipe_that_nobody_knows_is_refused(pictures: str, tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="gan"):
        plan_of(pictures, tmp_path / "out", recipe="gan").recipe_settings()
