"""The checkpoint that a training begins with: what the plan knows of it, and how a worker takes its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import torch
from torch import nn

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training import checkpoints
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.marks import are_marked
from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.card import Card, read_card
from pixelmill.workers.models.checkpoint import config_of, load_checkpoint
from pixelmill.workers.models.initial_weights import InitialReport, fill_from, matched, start_of
from pixelmill.workers.models.marks import joined
from pixelmill.workers.models.weight_files import found_files, sha256_of, stored_shapes
from pixelmill.workers.recipes import Recipe, StatesClasses, StatesStart


@dataclass(frozen=True)
class InitialWeights:
    """A checkpoint by its place, its name without the place, and its content; `adopted` are settings from its card.

    `trained_on` are the marks of the samples that it was trained on: the new network was, too.
    """

    uri: str
    name: str
    network: str
    sha256: str
    adopted: dict[str, Any] = field(default_factory=dict[str, Any])
    trained_on: tuple[str, ...] = ()


def read_initial(uri: str, access: Access) -> tuple[InitialWeights, Card]:
    """The checkpoint at `uri` and its card, which describes a network that can be built. Raises ModelError or StoreError."""
    with checkpoints.fetched(uri, access) as path:
        card = joined(read_card(path), found_files(path)[0])
        config_of(path, card)
        name = PurePosixPath(uri.rstrip("/")).name.removesuffix(".safetensors")
        return InitialWeights(uri, name, card.network, sha256_of(path), trained_on=card.trained_on), card


def planned_start(recipe: Recipe, initial: InitialWeights, access: Access) -> InitialReport:
    """What each tensor would become, before a worker starts. ModelError where the weights do not fit.

    The recipe knows its classes from samples, if it predicts classes.
    """
    with torch.device("meta"):
        start = start_of(recipe.NETWORK, recipe.network(), _classes(recipe))
    with checkpoints.fetched(initial.uri, access) as path:
        return matched(start, stored_shapes(found_files(path)[0]), read_card(path), initial.name)


def initial_notes(recipe: Recipe, initial: InitialWeights | None, access: Access) -> list[str]:
    """What is reported about the weights that a training begins with. ModelError where they do not fit."""
    if initial is not None:
        return [str(planned_start(recipe, initial, access))]
    return [f"begins with {recipe.report}"] if isinstance(recipe, StatesStart) and recipe.report is not None else []


def seen_before(initial: InitialWeights | None, parts: Mapping[str, DataSet | None]) -> list[str]:
    """What is reported of samples that judge this training, by the name of their part, and that trained the weights it
    begins with."""
    if initial is None or not initial.trained_on:
        return []
    counts = {part: (sum(are_marked(data, initial.trained_on)), len(data)) for part, data in parts.items() if data}
    return [
        f"init_from {initial.name}: was trained on {seen:,} of the {count:,} samples {part}: figures on these are too good; "
        "choose data that it has not seen with `validation` and `test`, or weights that were trained on other data"
        for part, (seen, count) in counts.items()
        if seen
    ]


def begin(recipe: Recipe, network: nn.Module, initial: InitialWeights | None, access: Access) -> dict[str, Any] | None:
    """Copy the weights into a new network; returns the facts for its card, also of weights that the recipe itself took.

    None for a network that begins with random weights. ModelError where the weights changed since the plan.
    """
    if initial is None:
        return recipe.start if isinstance(recipe, StatesStart) else None
    with checkpoints.fetched(initial.uri, access) as path:
        if sha256_of(path) != initial.sha256:
            raise ModelError(
                f"init_from {initial.name}: its weights changed since this training began; put the former ones back, or "
                "choose another out"
            )
        module, card = load_checkpoint(path)
    start = start_of(recipe.NETWORK, network, _classes(recipe))
    report = fill_from(network, start, module.state_dict(), card, initial.name)
    return {"name": initial.name, "network": initial.network, "sha256": initial.sha256, **report.facts()}


def _classes(recipe: Recipe) -> Any:
    return recipe.classes() if isinstance(recipe, StatesClasses) else None
