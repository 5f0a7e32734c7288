"""The best weights are judged once on a part that selected nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.evaluation import judged
from pixelmill.pipelines.training.layouts.registry import layout_of
from pixelmill.pipelines.training.plan import TrainingPlan
from pixelmill.pipelines.training.samples import open_samples
from pixelmill.pipelines.training.splits import split
from pixelmill.workers.models.checkpoint import load_checkpoint
from pixelmill.workers.recipes import Scores
from pixelmill.workers.recipes.vae import VaeRecipe
from tests.pipelines.training.trainings import plan_of, train


def plan_with_a_test_part(pictures: str, out: Path, **settings: Any) -> TrainingPlan:
    found = split(layout_of("pictures").ROLES, [pictures], [], 4, 0, Access(), test=6.0)
    plan = plan_of(pictures, out, settings)
    return replace(plan, train=found.train, held_out=found.held_out, test=found.test)


def test_the_card_has_the_metrics_of_the_best_weights_on_the_test_part(pictures: str, tmp_path: Path) -> None:
    plan = plan_with_a_test_part(pictures, tmp_path / "out")
    train(plan)
    network, card = load_checkpoint(tmp_path / "out")
    recipe = plan.built({})
    assert plan.test is not None
    expected, _ = judged(recipe, network.eval(), open_samples(plan.test, recipe, plan.cache_bytes))
    assert card.test_metrics == pytest.approx(expected)
    assert card.test_metrics != {name: card.metrics[name] for name in card.test_metrics}


def test_the_test_part_is_looked_at_once_and_selects_nothing(
    pictures: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_with_a_test_part(pictures, tmp_path / "out", evaluate_every_steps=2)
    seen: list[int] = []
    whole = VaeRecipe.scores

    def counted(self: VaeRecipe, network: Any, samples: Any) -> Scores:
        taken = list(samples)
        seen.append(len(taken))
        return whole(self, network, taken)

    monkeypatch.setattr(VaeRecipe, "scores", counted)
    train(plan)
    assert seen == [4] * 6 + [6]
    train(plan)  # is complete
    assert seen.count(6) <= 2


def test_a_training_that_is_killed_tests_when_it_is_resumed(pictures: str, tmp_path: Path) -> None:
    whole, killed = (
        plan_with_a_test_part(pictures, tmp_path / "whole"),
        plan_with_a_test_part(pictures, tmp_path / "killed"),
    )
    train(whole)
    with pytest.raises(KeyboardInterrupt):
        train(killed, killed_at=9)
    assert load_checkpoint(tmp_path / "killed")[1].test_metrics is None
    train(killed)
    cards = [load_checkpoint(tmp_path / name)[1] for name in ("whole", "killed")]
    assert cards[0].test_metrics == cards[1].test_metrics
    assert cards[0].test_metrics


def test_without_a_test_part_the_card_has_no_test_metrics(pictures: str, tmp_path: Path) -> None:
    train(plan_of(pictures, tmp_path / "out"))
    assert load_checkpoint(tmp_path / "out")[1].test_metrics is None
