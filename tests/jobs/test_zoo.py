"""Every checkpoint that ships reaches the figure on its card, with the command that `make zoo` names. Needs the data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from pixelmill.jobs import catalogue
from pixelmill.jobs.documents.references import expanded
from pixelmill.jobs.evaluation import evaluate
from pixelmill.jobs.training.job import read_recipe_file
from pixelmill.workers.models import zoo
from pixelmill.workers.models.card import read_card
from pixelmill.workers.recipes.registry import recipe_type

RECIPES = catalogue.SHIPPED
WITHIN = 1e-3


def test_each_has_the_recipe_file_that_made_it() -> None:
    for name in zoo.zoo_names():
        job = read_recipe_file(
            (RECIPES / f"{name}.yaml").read_text(), name=name, overrides=[], environment={"PIXELMILL_DATA": "/data"}
        )
        card = read_card(zoo.zoo_path(name) or Path())
        assert card.recipe == job.spec.recipe
        assert card.data == job.spec.data_name
        differ = {
            key for key, value in job.settings.model_dump(mode="json").items() if card.settings.get(key, value) != value
        }
        assert differ <= {*job.recipe.ASSETS, "layer_weights", "palette", "classes"}


@pytest.mark.slow
@pytest.mark.skipif("PIXELMILL_DATA" not in os.environ, reason="set PIXELMILL_DATA to the folder of the data sets")
@pytest.mark.parametrize("name", zoo.zoo_names())
def test_its_figure_is_the_one_on_its_card(name: str) -> None:
    card = read_card(zoo.zoo_path(name) or Path())
    recipe: Any = expanded(yaml.safe_load((RECIPES / f"{name}.yaml").read_text()), dict(os.environ), name)
    judged = recipe["test"] if isinstance(recipe.get("test"), str) else recipe["data"]
    places = [judged] if isinstance(judged, str) else judged
    if missing := [place for place in places if not Path(place).exists()]:
        pytest.skip(f"{missing[0]} is made first, as the recipe file says")
    kind = recipe_type(card.recipe)
    given = [f"{asset}={recipe['settings'][asset]}" for asset in kind.JUDGED_WITH]
    report = evaluate(card.network, name, places, "auto", given, None)
    goal = kind.GOAL[0]
    assert report["metrics"][goal] == pytest.approx((card.test_metrics or card.metrics)[goal], rel=WITHIN)
