"""`init_from`: which settings a recipe takes from the checkpoint that a training begins with, and what can't be begun so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from pydantic import ValidationError

from pixelmill.jobs.training.job import TrainJob
from pixelmill.pipelines.outputs.claims import ClaimedFolder
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training.initial import InitialWeights, read_initial
from pixelmill.workers.errors import JobError
from pixelmill.workers.models.card import Card, read_card
from pixelmill.workers.models.zoo import zoo_names, zoo_path
from pixelmill.workers.networks.finetuned import ENCODERS
from pixelmill.workers.networks.registry import encoders_for
from pixelmill.workers.recipes import RecipeSettings

STORED = "_run/init_from.json"
"""What a training began with: a resumed one takes it from here and never reads the checkpoint again."""
FREE = frozenset({"classes", "dropout", "frozen"})
"""Options of networks that may differ from the checkpoint's: they change neither a tensor but the head's nor its meaning."""
CALLED: Mapping[tuple[str, str], str] = {
    ("fcn", "convention"): "vgg_convention",
    ("segnet", "convention"): "vgg_convention",
    ("finetuned", "width"): "head_width",
}
"""Settings that do not have the name of the network's option."""


def initialised(job: TrainJob, out: Folder) -> TrainJob:
    """The training with the settings of the checkpoint that it begins with; the same where `init_from` names none, or one
    whose encoder the recipe takes itself.

    Raises JobError for a checkpoint of another network and for settings that contradict its card.
    """
    uri = job.spec.initial_uri
    if uri is None or job.begun_by == "vgg":
        return job
    with explained(out.uri, "reading the output folder"):
        stored = out.read(STORED)
    if stored is not None:
        return job.beginning_with(_restored(stored))
    initial, card = read_initial(uri, job.spec.access)
    if job.begun_by == "checkpoint" and card.network != job.recipe.NETWORK:
        return job
    _refuse_other_network(job, initial.name, card)
    return job.beginning_with(replace(initial, adopted=_adopted(job, initial.name, card)))


def keep_initial(job: TrainJob, out: ClaimedFolder) -> None:
    """Write down what the training begins with, once."""
    if job.initial is not None:
        out.create(STORED, json.dumps(asdict(job.initial)).encode())


def _restored(stored: bytes) -> InitialWeights:
    read: dict[str, Any] = json.loads(stored)
    return replace(InitialWeights(**read), trained_on=tuple(read["trained_on"]))


def _refuse_other_network(job: TrainJob, name: str, card: Card) -> None:
    network = job.recipe.NETWORK
    if card.network == network or card.network in encoders_for(network):
        return
    hints = [f"take a checkpoint of {network}{_shipped(network)}"]
    hints += [f"train {card.recipe}"] if card.recipe != job.recipe.NAME else []
    hints += ["finetune or finetune-dense, which take its encoder"] if card.network in ENCODERS else []
    raise JobError(
        f"init_from {name}: holds the network {card.network}, and recipe {job.recipe.NAME} trains {network}; "
        f"{', or '.join(hints)}"
    )


def _shipped(network: str) -> str:
    names = [name for name in zoo_names() if (path := zoo_path(name)) and read_card(path).network == network]
    return f", such as {', '.join(names)}" if names else ""


def _adopted(job: TrainJob, name: str, card: Card) -> dict[str, Any]:
    """The settings that the checkpoint's network decides, where the user set none. JobError where the user set others."""
    decided = _decided(job.recipe.Settings, card)
    given = job.settings.model_dump(mode="json", exclude_unset=True)
    try:
        there = job.recipe.Settings.model_validate({**given, **decided})
    except ValidationError as error:
        first = error.errors()[0]
        raise JobError(
            f"init_from {name}: recipe {job.recipe.NAME} can't have the config of its card: "
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}; take another checkpoint"
        ) from error
    both = [key for key in decided if key in given and key not in FREE]
    if differ := [key for key in both if getattr(job.settings, key) != getattr(there, key)]:
        several = "; ".join(f"{key}: {getattr(there, key)} there, {getattr(job.settings, key)} here" for key in differ)
        raise JobError(
            f"init_from {name}: its {card.network} is another than the settings ask for: {several}; leave these settings "
            "out, and they are taken from the checkpoint"
        )
    return {key: value for key, value in decided.items() if key not in given}


def _decided(kind: type[RecipeSettings], card: Card) -> dict[str, Any]:
    """The settings that follow from the config of a card; classes follow from the data."""
    options: dict[str, Any] = {CALLED.get((card.network, key), key): value for key, value in card.config.items()}
    if "height_px" in kind.model_fields and "size_px" in options:
        options["height_px"], options["width_px"] = options.pop("size_px")
    return {key: value for key, value in options.items() if key in kind.model_fields and key != "classes"}
