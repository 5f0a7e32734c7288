"""What every recipe has, whoever writes the next one."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from pixelmill.workers import recipes
from pixelmill.workers.networks.registry import NETWORKS
from pixelmill.workers.recipes import Recipe, RecipeSettings
from pixelmill.workers.recipes.registry import RECIPES, recipe_type

HOOKS = (
    recipes.ChecksSamples,
    recipes.FindsFacts,
    recipes.FinishesNetwork,
    recipes.ClipsGradients,
    recipes.StatesInput,
    recipes.StatesClasses,
)


def methods(protocol: Any) -> dict[str, Any]:
    return {name: each for name, each in vars(protocol).items() if inspect.isfunction(each) and name[0] != "_"}


def assert_called_alike(kind: Any, name: str, stated: Any) -> None:
    own = inspect.signature(getattr(kind, name)).parameters
    assert list(own) == list(inspect.signature(stated).parameters), f"{kind.NAME}.{name}"


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_each_recipe_has_what_the_contract_asks_for(name: str) -> None:
    kind = recipe_type(name)
    assert name == kind.NAME
    assert kind.NETWORK in NETWORKS
    assert kind.GOAL[1] in {"min", "max"}
    assert {"network", "decode", "batch", "optimizer", "rate", "losses", "scores", "metrics", "pictures"} == set(
        methods(Recipe)
    )
    for method, stated in methods(Recipe).items():
        assert_called_alike(kind, method, stated)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_hook_that_a_recipe_has_is_called_as_its_protocol_says(name: str) -> None:
    kind = recipe_type(name)
    for protocol in HOOKS:
        stated = methods(protocol)
        there = [method for method in stated if hasattr(kind, method)]
        assert there in ([], list(stated)), f"{name} has a part of {protocol.__name__}"
        for method in there:
            assert_called_alike(kind, method, stated[method])


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_states_what_its_samples_are_made_of_and_which_settings_are_files(name: str) -> None:
    kind = recipe_type(name)
    names = [role.name for role in kind.ROLES]
    assert kind.ROLES[0].is_needed  # what samples are named by
    assert len(set(names)) == len(names)
    assert issubclass(kind.Settings, RecipeSettings)
    assert set(kind.ASSETS) <= kind.Settings.model_fields.keys()
    assert set(kind.JUDGED_WITH) <= set(kind.ASSETS)
