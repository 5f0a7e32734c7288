"""Learning rates: those of every recipe are, bit for bit, what its own formula gave; and what each schedule does."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from pixelmill.workers.recipes import RecipeSettings
from pixelmill.workers.recipes.registry import RECIPES, recipe_type
from pixelmill.workers.recipes.schedules import half_cosine, rate_at

NEEDED: dict[str, dict[str, Any]] = {
    "faststyle": {"vgg": "v", "style": "s"},
    "crn": {"vgg": "v"},
    "crn-labels": {"vgg": "v"},
    "finetune": {"checkpoint": "c"},
    "finetune-dense": {"checkpoint": "c"},
}
LENGTHS = (1, 2, 3, 7, 19, 20, 21, 40, 55, 99, 100, 358, 1800, 2600)

Rate = Callable[[int, int], float]


def cosine(step: int, steps: int) -> float:
    return 0.5 + 0.5 * math.cos(math.pi * step / steps)


def segmentation(warmup: int, shape: Rate) -> Rate:
    return lambda step, steps: min(1.0, (step + 1) / (warmup + 1)) * shape(step, steps)


def falling(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / max(1, steps // 20)) * cosine(step, steps)


def stepped(step: int, steps: int) -> float:
    return 0.1 ** sum(step >= share * steps for share in (0.6, 0.85))


def quartered(step: int, steps: int) -> float:
    return 0.1 ** (4 * step // steps)


def halved(step: int, steps: int) -> float:
    return 0.5 ** ((step >= steps * 3 / 5) + (step >= steps * 4 / 5))


def constant(step: int, steps: int) -> float:
    return 1.0


BEFORE: list[tuple[str, dict[str, Any], Rate]] = [
    ("autoencoder", {}, lambda step, steps: min(1.0, (step + 1) / 50) * cosine(step, steps)),
    ("autoencoder", {"warmup_steps": 7}, lambda step, steps: min(1.0, (step + 1) / 7) * cosine(step, steps)),
    ("vae", {}, constant),
    ("monodepth", {}, halved),
    ("vdsr", {}, quartered),
    ("vdsr", {"optimizer": "adam"}, lambda step, steps: 0.01 + 0.99 * cosine(step, steps)),
    ("faststyle", {}, constant),
    ("faststyle", {"schedule": "cosine"}, cosine),
    ("crn", {}, constant),
    ("crn", {"schedule": "cosine"}, cosine),
    ("crn-labels", {}, constant),
    ("finetune", {}, falling),
    ("finetune-dense", {}, falling),
    *[(name, {}, constant) for name in ("fcn", "segnet", "unet")],
    *[
        (
            name,
            {"schedule": "poly", "warmup_steps": 50},
            segmentation(50, lambda step, steps: (1 - step / steps) ** 0.9),
        )
        for name in ("fcn", "segnet", "unet")
    ],
    ("unet", {"schedule": "step"}, stepped),
    ("unet", {"warmup_steps": 20}, segmentation(20, constant)),
]


LATER = {"ct-autoencoder", "ct-finetune"}
"""Recipes that never had a formula of their own."""


def settings(**given: Any) -> RecipeSettings:
    return RecipeSettings.model_validate(given)


@pytest.mark.parametrize(("name", "given", "formula"), BEFORE)
def test_the_rates_of_each_recipe_are_bit_for_bit_those_of_its_own_formula(
    name: str, given: dict[str, Any], formula: Rate
) -> None:
    kind = recipe_type(name)
    recipe = kind(kind.Settings.model_validate({**NEEDED.get(name, {}), **given}), {})
    for steps in LENGTHS:
        assert [recipe.rate(step, steps) for step in range(steps)] == [formula(step, steps) for step in range(steps)]


@pytest.mark.parametrize("steps", range(1, 1500, 13))
def test_shares_of_a_training_fall_on_the_steps_that_fractions_gave(steps: int) -> None:
    at = settings(schedule="step", step_at=(0.6, 0.8), step_factor=0.5)
    assert [rate_at(at, step, steps) for step in range(steps)] == [halved(step, steps) for step in range(steps)]


def test_every_recipe_is_compared_with_its_formula() -> None:
    assert {name for name, _, _ in BEFORE} | LATER == set(RECIPES)


@pytest.mark.parametrize("name", sorted(RECIPES))
@pytest.mark.parametrize("schedule", ["constant", "step", "poly", "cosine"])
def test_every_recipe_takes_every_schedule(name: str, schedule: str) -> None:
    kind = recipe_type(name)
    given = {"schedule": schedule, "warmup_steps": 0, "warmup_share": 0.0}
    rates = [
        kind(kind.Settings.model_validate({**NEEDED.get(name, {}), **given}), {}).rate(step, 100) for step in range(100)
    ]
    assert rates[0] == 1
    assert rates == sorted(rates, reverse=True)
    assert (rates[-1] < 1) == (schedule != "constant")


@pytest.mark.parametrize("schedule", ["poly", "cosine"])
def test_a_schedule_falls_to_its_final_rate(schedule: str) -> None:
    assert rate_at(settings(schedule=schedule, final_rate=0.2), 10_000, 10_000) == pytest.approx(0.2)


def test_warm_up_rises_to_the_full_rate_by_steps_or_by_a_share_and_steps_come_first() -> None:
    rates = [rate_at(settings(warmup_steps=4), step, 100) for step in range(6)]
    assert rates == [0.25, 0.5, 0.75, 1, 1, 1]
    assert [rate_at(settings(warmup_share=0.04), step, 100) for step in range(6)] == rates
    assert [rate_at(settings(warmup_steps=4, warmup_share=0.5), step, 100) for step in range(6)] == rates


def test_half_a_cosine_is_at_a_half_in_the_middle() -> None:
    assert half_cosine(50, 100) == pytest.approx(0.5)
