"""The card of a checkpoint: how to build its network, what to feed it, where it comes from and how good it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue, PositiveInt, ValidationError, field_validator

from pixelmill.workers.errors import ModelError
from pixelmill.workers.geometry.resize import Interpolation
from pixelmill.workers.models.model_names import did_you_mean
from pixelmill.workers.models.picture_model import Classes
from pixelmill.workers.models.weight_files import CARD, WEIGHTS, found_files
from pixelmill.workers.models.zoo import zoo_names

MOST_CARD_BYTES = 64 << 20
_ABSOLUTE_PATH = re.compile(r"(file:)?[/~\\]|[A-Za-z]:[/\\]")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SquareInput(_Strict):
    """The preprocessing of the network's training: resize, crop to a square of `size_px`, then (pixels / 255 - mean) / std."""

    size_px: PositiveInt
    resize: Literal["shorter side, centre crop"] = "shorter side, centre crop"
    interpolation: Interpolation = "bilinear"
    antialias: bool = True
    mean: tuple[float, ...]
    std: tuple[float, ...]


class Card(_Strict):
    """The facts about a checkpoint: how to build the network, where it comes from and how good it is.

    `config` rebuilds the network; `settings` are the recipe's; `metrics` are of the stored weights on the samples that
    selected them.
    """

    network: str
    config: dict[str, JsonValue]
    recipe: str
    settings: dict[str, JsonValue]
    data: str
    data_licence: str
    split: str
    metrics: dict[str, float]
    preprocess: SquareInput | None
    """None if only the recipe knows how its data is read."""
    trained_on: tuple[str, ...]
    """Marks of the training samples; older cards have none where the data has a split of its own."""
    selected_on: tuple[str, ...] | None = None
    """Marks of the samples that selected the stored step; older cards lack the key."""
    marks_sha256: str | None = None
    """The hash of the file beside the weights that has these marks (marks.py); None where the card itself has them."""
    test_metrics: dict[str, float] | None = None
    """The metrics of the stored weights on the test part, which selected nothing; None where there is no such part."""
    classes: Classes | None = None
    """The classes of a network that predicts classes; None for others; older cards lack the key."""
    initialised_from: dict[str, JsonValue] | None = None
    """The checkpoint that the training began with: its name, its hash and what became of its tensors; None for new weights."""
    versions: dict[str, str]
    git_revision: str | None

    @field_validator("config", "settings", "data", "split", "initialised_from", "git_revision")
    @classmethod
    def _no_local_path(cls, value: JsonValue) -> JsonValue:
        for text in _texts(value):
            if _ABSOLUTE_PATH.match(text):
                raise ValueError(f"{text} is a path of one machine; name the data, not its location")
        return value


def read_card(path: Path) -> Card:
    """The card of the checkpoint at `path`, without its weights; ModelError when there is none, or a bad one."""
    weights, card_file = found_files(path)
    try:
        with card_file.open("rb") as file:
            text = file.read(MOST_CARD_BYTES + 1)
        if len(text) > MOST_CARD_BYTES:
            raise ModelError(
                f"{card_file}: has more than {MOST_CARD_BYTES >> 20} MB; take the card that came with the weights"
            )
        return Card.model_validate_json(text)
    except FileNotFoundError as error:
        if not weights.exists():
            ours = zoo_names()
            raise ModelError(
                f"{path}: no such checkpoint{did_you_mean(path.name, ours)}; give a folder with {WEIGHTS} and {CARD}, a "
                f"NAME.safetensors with NAME.json beside it, or one that ships: {', '.join(ours)}"
            ) from error
        raise ModelError(f"{path}: its card {card_file.name} is missing; copy it beside the weights") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "JSON"
        raise ModelError(f"{card_file}: {field}: {first['msg']}; take the card that came with the weights") from error


def _texts(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for item in value.values() for text in _texts(item))
    elif isinstance(value, list):
        yield from (text for item in value for text in _texts(item))
