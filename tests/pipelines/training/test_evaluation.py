"""The best so far is told by the metric that decides, in its direction."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import cast

import pytest
import torch

from pixelmill.pipelines.training.evaluation import (
    SharedEvaluation,
    baselines,
    evaluate_network,
    is_better,
)
from pixelmill.pipelines.training.peers import Peers
from pixelmill.workers.recipes import Sample
from pixelmill.workers.recipes.registry import recipe_type
from pixelmill.workers.recipes.vae import VaeRecipe, VaeSettings
from tests.pipelines.training.trainings import plan_of


@pytest.mark.parametrize(
    ("value", "best", "direction", "said"),
    [
        (1.0, None, "min", True),
        (None, None, "min", True),
        (None, 1.0, "min", False),
        (0.9, 1.0, "min", True),
        (1.1, 1.0, "min", False),
        (1.1, 1.0, "max", True),
        (1.0, 1.0, "max", False),
    ],
)
def test_a_metric_is_the_best_in_its_direction_and_a_missing_one_only_at_first(
    value: float | None, best: float | None, direction: str, said: bool
) -> None:
    assert is_better(value, best, direction) is said  # pyright: ignore[reportArgumentType]


def test_so_many_held_out_samples_are_judged_as_the_settings_say(pictures: str, tmp_path: Path) -> None:
    few = plan_of(pictures, tmp_path / "out", {"evaluate_samples": 2})
    recipe = few.built({})
    scores = SharedEvaluation(few, recipe, Peers()).scores(recipe.network().eval())
    assert scores is not None
    assert (len(scores["kl"]), len(few.held_out or [])) == (2, 4)
    none = plan_of(pictures, tmp_path / "out", held_out=None)
    assert SharedEvaluation(none, recipe, Peers()).scores(recipe.network().eval()) is None


def test_a_network_is_judged_with_numbers_and_a_picture(pictures: str, tmp_path: Path) -> None:
    plan = plan_of(pictures, tmp_path / "out")
    recipe = plan.built({})
    assert type(recipe) is recipe_type("vae")
    assert plan.held_out is not None
    metrics, picture_CHW = evaluate_network(recipe, recipe.network(), plan.held_out, torch.device("cpu"))
    assert metrics["negative_elbo"] > 0
    assert (picture_CHW.dtype, picture_CHW.dim()) == (torch.uint8, 3)


def test_baselines_are_those_that_a_recipe_knows_of(pictures: str, tmp_path: Path) -> None:
    plan = plan_of(pictures, tmp_path / "out")
    assert plan.held_out is not None
    assert baselines(plan.built({}), plan.held_out) == {}

    class Compared(VaeRecipe):
        def baselines(self, samples: Iterable[Sample]) -> dict[str, dict[str, float]]:
            return {"two passes": {"count": float(len(list(samples)) + len(list(samples)))}}

    compared = Compared(cast("VaeSettings", plan.recipe_settings()), {})
    assert baselines(compared, plan.held_out) == {"two passes": {"count": 2.0 * len(plan.held_out)}}
