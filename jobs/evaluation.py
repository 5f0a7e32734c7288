"""Evaluate a network on data that it was not trained on, by the recipe that its card names."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypedDict, cast

import torch
from pydantic import ValidationError

from pixelmill.jobs import checks, extras
from pixelmill.jobs.documents.credentials import refuse_credentials
from pixelmill.jobs.documents.faults import faults
from pixelmill.jobs.documents.overrides import override_key
from pixelmill.jobs.documents.parsing import Document
from pixelmill.jobs.places import absolute
from pixelmill.jobs.training.job import known_settings, with_places
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training import checkpoints
from pixelmill.pipelines.training.broken_samples import LEFT_OUT, BrokenSamples
from pixelmill.pipelines.training.evaluation import baselines, evaluate_network
from pixelmill.pipelines.training.unseen import Seen, Unseen, to_evaluate
from pixelmill.workers.codecs.encode import encode_png_tensor
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import JobError
from pixelmill.workers.models.card import Card
from pixelmill.workers.models.marks import require_marks
from pixelmill.workers.models.zoo import zoo_path
from pixelmill.workers.recipes import Recipe
from pixelmill.workers.recipes.registry import recipe_of


class Evaluation(TypedDict):
    """What `pixelmill eval` prints."""

    network: str
    checkpoint: str
    data: list[str]
    split: str
    samples: int
    """Those that were judged on; what is broken, or left out on purpose, is not among them."""
    failed: list[dict[str, str | None]]
    """The samples that could not be read, as in failed/ of a training."""
    trained_on: int
    selected_on: int
    """Samples of these that the training used."""
    metrics: dict[str, float]
    baselines: dict[str, dict[str, float]]
    """Metrics of results that no network made, where the recipe knows of some."""


def evaluate(
    network: str, uri: str, data: list[str], part: str, overrides: list[str], picture: str | None
) -> Evaluation:
    """The metrics of the checkpoint at `uri`. A PNG of its results for the first samples is written to `picture`."""
    extras.require("train", "eval")
    access = Access()
    if picture is not None:
        checks.check_file(picture)
    refuse_credentials(uri, data)
    module, card = checkpoints.load_from_store(uri if zoo_path(uri) is not None else absolute(uri), access)
    if network not in {card.network, card.recipe}:
        raise JobError(
            f"{uri}: holds the network {card.network}, trained by the recipe {card.recipe}, and not {network}"
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if part != "all":
        require_marks(uri, card)
    with judging(card, uri, overrides, access) as recipe:
        found = data_to_judge(recipe, card, data, part)
        broken = BrokenSamples(found.data)
        metrics, shown_CHW = evaluate_network(recipe, module, found.data, device, broken)
        beside = baselines(recipe, found.data)
    if picture is not None:
        Path(picture).parent.mkdir(parents=True, exist_ok=True)
        Path(picture).write_bytes(encode_png_tensor(shown_CHW.cpu()))
    return {
        "network": card.network,
        "checkpoint": uri,
        "data": [scrub(each) for each in data],
        "split": found.says,
        "samples": len(found.data) - len(broken),
        "failed": [row | {"uri": scrub(str(row["uri"]))} for row in broken.rows() if row["error_type"] != LEFT_OUT],
        "trained_on": found.trained_on,
        "selected_on": found.selected_on,
        "metrics": metrics,
        "baselines": beside,
    }


def data_to_judge(recipe: Recipe, card: Card, data: Sequence[str], part: str) -> Unseen:
    """The samples that the network was not trained on, and a description of which part of the data they are."""
    uris = [absolute(each) for each in data]
    classes = getattr(recipe.settings, "class_names", None)
    return to_evaluate(recipe.ROLES, uris, part, Seen.of(card), Access(), classes)


@contextmanager
def judging(
    card: Card, uri: str, overrides: Sequence[str], access: Access, *, needs_assets: bool = True
) -> Generator[Recipe]:
    """The recipe of the card at `uri` with the user's settings over its own, and the assets that it evaluates with."""
    settings: Document = {}
    document: Document = {"settings": settings}
    for override in overrides:
        override_key(document, f"settings.{override}")
    kind = type(recipe_of(card))
    changes = with_places(kind, settings)
    with ExitStack() as stack:
        assets = dict[str, Path]()
        for name in kind.JUDGED_WITH if needs_assets else ():
            asset = cast("str | None", changes.get(name, card.settings.get(name)))
            if asset is None or asset.startswith("torchvision:"):
                continue
            if name not in changes and not Path(asset).exists():
                raise JobError(f"{uri}: is judged with its {name}, {asset}, which is not here; give --set {name}=FILE")
            assets[name] = stack.enter_context(checkpoints.asset(asset, access))
        try:
            recipe = recipe_of(card, changes, assets)
        except ValidationError as error:
            lines = faults(error, known_settings(kind.Settings))
            raise JobError(f"{uri}: settings of {kind.NAME}\n" + "\n".join(lines)) from error
        yield recipe
