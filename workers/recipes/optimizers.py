"""Optimisers, and the learning rate of each parameter: one choice for all recipes, each of which states its paper's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, Field, NonNegativeFloat, PositiveFloat
from torch import nn
from torch.optim import Optimizer

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.model_names import did_you_mean
from pixelmill.workers.networks.layers import depths_of
from pixelmill.workers.recipes.schedules import Fraction

OptimizerName = Literal["sgd", "adam", "adamw", "rmsprop"]


class OptimizerSettings(BaseModel):
    """`optimizer` takes the steps: `momentum` belongs to sgd and rmsprop, `betas` to adam and adamw. `weight_decay` is added to
    the gradient; adamw applies it to the weights. `decay_biases: false` exempts biases and the scales of normalisation from it.

    `layer_decay` multiplies the learning rate once for each layer between a parameter and the output: 0.8 trains the first
    layers slowest. `rates` multiplies it for parameters by the beginning of their names, {contracting: 0.1}; the longest
    beginning counts, and 0 keeps parameters as they are.
    """

    optimizer: OptimizerName = "adam"
    learning_rate: PositiveFloat = 1e-3
    momentum: Fraction = 0.9
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    weight_decay: NonNegativeFloat = 0.0
    decay_biases: bool = True
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    rates: dict[str, NonNegativeFloat] = {}


@dataclass(frozen=True)
class ParameterShare:
    """Parameters with one share of the learning rate, by a recipe's own rule: a trunk, a head."""

    parameters: Iterable[nn.Parameter]
    rate: float = 1.0


def optimizer_of(
    settings: OptimizerSettings, network: nn.Module, shares: Iterable[ParameterShare] | None = None
) -> Optimizer:
    """The optimiser over `shares` of the network's parameters, in their order; by default all, at the learning rate.

    A share is one group unless layer-wise rates or the exemption of biases divide it, so that the groups of an earlier
    checkpoint stay what they were. ModelError where a key of `rates` begins no parameter's name.
    """
    factors = _factors(settings, network)
    groups: list[dict[str, Any]] = []
    for share in shares or [ParameterShare(network.parameters())]:
        divided: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for parameter in share.parameters:
            is_decayed = settings.decay_biases or parameter.ndim > 1
            divided.setdefault((factors.get(id(parameter), 1.0), is_decayed), []).append(parameter)
        for (factor, is_decayed), parameters in divided.items():
            group = {"params": parameters, "lr": settings.learning_rate * share.rate * factor}
            groups.append(group if is_decayed else {**group, "weight_decay": 0.0})
    return _BUILT[settings.optimizer](settings, groups)


def _factors(settings: OptimizerSettings, network: nn.Module) -> dict[int, float]:
    """The factor of each parameter, by its id; empty where no rule names any."""
    if settings.layer_decay == 1 and not settings.rates:
        return {}
    named = dict(network.named_parameters())
    depths = depths_of(network) if settings.layer_decay < 1 else dict.fromkeys(named, 0)
    last = max(depths.values(), default=0)
    factors = dict.fromkeys(named, 1.0) | _by_prefix(settings.rates, list(named))
    return {
        id(parameter): settings.layer_decay ** (last - depths[name]) * factors[name]
        for name, parameter in named.items()
    }


def _by_prefix(rates: Mapping[str, float], names: list[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for prefix in sorted(rates, key=len):  # the longest last, so that it counts
        matched = [name for name in names if name.startswith(prefix)]
        if not matched:
            heads = list(dict.fromkeys(name.partition(".")[0] for name in names))
            raise ModelError(
                f"rates: no parameter's name begins with {prefix}{did_you_mean(prefix, heads)}; names of this network "
                f"begin with {', '.join(heads)}"
            )
        found |= dict.fromkeys(matched, rates[prefix])
    return found


def _sgd(settings: OptimizerSettings, groups: list[dict[str, Any]]) -> Optimizer:
    rate, decay = settings.learning_rate, settings.weight_decay
    return torch.optim.SGD(groups, rate, momentum=settings.momentum, weight_decay=decay)


def _adam(settings: OptimizerSettings, groups: list[dict[str, Any]]) -> Optimizer:
    return torch.optim.Adam(groups, settings.learning_rate, settings.betas, weight_decay=settings.weight_decay)


def _adamw(settings: OptimizerSettings, groups: list[dict[str, Any]]) -> Optimizer:
    return torch.optim.AdamW(groups, settings.learning_rate, settings.betas, weight_decay=settings.weight_decay)


def _rmsprop(settings: OptimizerSettings, groups: list[dict[str, Any]]) -> Optimizer:
    rate, decay = settings.learning_rate, settings.weight_decay
    return torch.optim.RMSprop(groups, rate, momentum=settings.momentum, weight_decay=decay)


_BUILT = {"sgd": _sgd, "adam": _adam, "adamw": _adamw, "rmsprop": _rmsprop}
