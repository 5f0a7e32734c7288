"""What every recipe has, whoever writes the next one."""

from __future__ import annotations

import pytest

from pixelmill.workers.recipes.registry import RECIPES, recipe_type


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_each_recipe_has_what_the_contract_asks_for(name: str) -> None:
    kind = recipe_type(name)
    assert name == kind.NAME
    assert kind.GOAL[1] in {"min", "max"}
    for method in ("network", "decode", "batch", "optimizer", "rate", "losses", "evaluate", "pictures"):
        assert callable(getattr(kind, method))
