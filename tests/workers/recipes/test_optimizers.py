"""Optimisers: each recipe's is what it was, and parameters get the rates and the decay that the settings name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from pixelmill.workers.errors import ModelError
from pixelmill.workers.networks.finetuned import Finetuned, FinetunedConfig
from pixelmill.workers.networks.unet import UNet, UNetConfig
from pixelmill.workers.recipes import RecipeSettings
from pixelmill.workers.recipes.optimizers import ParameterShare, optimizer_of
from pixelmill.workers.recipes.registry import RECIPES, recipe_type

NEEDED: dict[str, dict[str, Any]] = {
    "faststyle": {"vgg": "v", "style": "s"},
    "crn": {"vgg": "v"},
    "crn-labels": {"vgg": "v"},
    "finetune": {"checkpoint": "c"},
    "finetune-dense": {"checkpoint": "c"},
}
UNET: dict[str, Any] = {"base": 4, "levels": 2, "skips": (1, 2), "padding": "same", "batch_norm": True}
Before = Callable[[list[dict[str, Any]]], Optimizer]
BEFORE: list[tuple[str, dict[str, Any], Before, float]] = [
    ("autoencoder", {}, lambda p: AdamW(p, 2e-3, betas=(0.9, 0.99), weight_decay=0.0), 2e-3),
    ("vae", {}, lambda p: Adam(p, 1e-3), 1e-3),
    ("monodepth", {}, lambda p: Adam(p, 1e-4), 1e-4),
    ("vdsr", {}, lambda p: SGD(p, 0.1, momentum=0.9, weight_decay=1e-4), 0.1),
    ("vdsr", {"optimizer": "adam"}, lambda p: AdamW(p, 0.1, weight_decay=1e-4), 0.1),
    ("faststyle", {}, lambda p: Adam(p, 1e-3), 1e-3),
    ("crn", {}, lambda p: Adam(p, 1e-4), 1e-4),
    ("crn-labels", {}, lambda p: Adam(p, 1e-4), 1e-4),
    ("unet", {}, lambda p: SGD(p, 1e-3, momentum=0.99, weight_decay=0.0), 1e-3),
    ("unet", {"optimizer": "adamw", "weight_decay": 1e-4}, lambda p: AdamW(p, weight_decay=1e-4), 1e-3),
]
APART = {"fcn", "segnet", "finetune", "finetune-dense"}
"""Recipes with a trunk or an encoder, which have tests of their own groups."""
LATER = {"ct-autoencoder", "ct-finetune"}
"""Recipes that never built an optimizer themselves."""


def network() -> UNet:
    torch.manual_seed(0)
    return UNet(UNetConfig(**UNET))


def rates_by_name(optimizer: Optimizer, module: nn.Module) -> dict[str, float]:
    rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    return {name: rates[id(parameter)] for name, parameter in module.named_parameters()}


def settings(**given: Any) -> RecipeSettings:
    return RecipeSettings.model_validate({"learning_rate": 1.0, **given})


def without_parameters(optimizer: Optimizer) -> list[dict[str, Any]]:
    return [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]


@pytest.mark.parametrize(("name", "given", "before", "rate"), BEFORE)
def test_each_recipes_optimizer_is_the_one_that_it_built_itself(
    name: str, given: dict[str, Any], before: Before, rate: float
) -> None:
    kind = recipe_type(name)
    recipe, module = kind(kind.Settings.model_validate({**NEEDED.get(name, {}), **given}), {}), network()
    now, then = recipe.optimizer(module), before([{"params": list(module.parameters()), "lr": rate}])
    assert type(now) is type(then)
    assert without_parameters(now) == without_parameters(then)
    assert [id(p) for p in now.param_groups[0]["params"]] == [id(p) for p in then.param_groups[0]["params"]]


@pytest.mark.parametrize("frozen", [False, True])
def test_fine_tuning_keeps_its_groups_head_first(frozen: bool) -> None:
    kind = recipe_type("finetune")
    recipe = kind(kind.Settings.model_validate({"checkpoint": "c", "encoder_rate": 0.1}), {})
    module = Finetuned(FinetunedConfig("unet", UNET, frozen=frozen))
    groups = recipe.optimizer(module).param_groups
    head = [id(parameter) for parameter in module.head.parameters()]
    assert [id(parameter) for parameter in groups[0]["params"]] == head
    assert [group["lr"] for group in groups] == [1e-3, pytest.approx(1e-4)][: 1 if frozen else 2]
    assert {group["weight_decay"] for group in groups} == {1e-2}


def test_every_recipe_is_compared_with_what_it_built() -> None:
    assert {name for name, *_ in BEFORE} | APART | LATER == set(RECIPES)


@pytest.mark.parametrize(("name", "kind"), [("sgd", SGD), ("adam", Adam), ("adamw", AdamW), ("rmsprop", RMSprop)])
def test_each_name_is_an_optimizer_with_its_options(name: str, kind: type[Optimizer]) -> None:
    optimizer = optimizer_of(settings(optimizer=name, momentum=0.5, betas=(0.8, 0.9), weight_decay=0.1), network())
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    assert group["weight_decay"] == 0.1
    assert group.get("betas", (0.8, 0.9)) == (0.8, 0.9)
    assert group.get("momentum", 0.5) == 0.5


def test_the_rate_falls_by_a_factor_for_each_layer_from_the_output_to_the_input() -> None:
    module = network()
    rates = rates_by_name(optimizer_of(settings(layer_decay=0.5), module), module)
    assert rates["score.weight"] == 1
    assert rates["expanding.0.0.weight"] == rates["ups.0.mixing.weight"] == 0.5
    assert rates["expanding.1.0.weight"] == 0.25
    assert rates["contracting.2.0.weight"] == 0.125
    assert rates["contracting.0.0.weight"] == 0.5**5


def test_names_that_begin_alike_share_a_factor_and_the_longest_beginning_counts() -> None:
    module = network()
    chosen = settings(rates={"contracting": 0.1, "contracting.2": 0.5, "score.bias": 0})
    rates = rates_by_name(optimizer_of(chosen, module), module)
    assert rates["contracting.0.0.weight"] == pytest.approx(0.1)
    assert rates["contracting.2.0.weight"] == 0.5
    assert (rates["score.weight"], rates["score.bias"]) == (1, 0)


def test_a_beginning_that_no_name_has_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ModelError, match=r"begins with contracted \(did you mean contracting\?\); .* score"):
        optimizer_of(settings(rates={"contracted": 0.1}), network())


def test_both_rules_and_the_share_of_a_trunk_multiply() -> None:
    module = network()
    shares = [ParameterShare(module.parameters(), 0.5)]
    optimizer = optimizer_of(settings(layer_decay=0.5, rates={"expanding.0": 0.1}), module, shares)
    assert rates_by_name(optimizer, module)["expanding.0.0.weight"] == pytest.approx(0.5 * 0.5 * 0.1)


def test_biases_and_scales_may_be_exempt_from_decay() -> None:
    module = network()
    optimizer = optimizer_of(settings(weight_decay=0.1, decay_biases=False), module)
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {decays[id(p)] for p in module.parameters() if p.ndim > 1} == {0.1}
    assert {decays[id(p)] for p in module.parameters() if p.ndim == 1} == {0.0}


def test_a_rate_of_nought_keeps_parameters_as_they_are() -> None:
    module = network()
    optimizer = optimizer_of(settings(optimizer="sgd", rates={"contracting": 0}), module)
    before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    module(torch.rand(1, 3, 16, 16)).square().mean().backward()
    optimizer.step()
    moved = {name for name, parameter in module.named_parameters() if not torch.equal(parameter, before[name])}
    assert {name.partition(".")[0] for name in moved} == {"ups", "expanding", "score"}
