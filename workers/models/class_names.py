"""The classes of a checkpoint: by the names in its card, or by number."""

from __future__ import annotations

from typing import Any

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.loaded_checkpoint import Checkpoint
from pixelmill.workers.models.palette import class_colours
from pixelmill.workers.models.picture_model import Classes


def classes_of(checkpoint: Checkpoint, count: int) -> Classes:
    """The names in the card, or in the settings of older cards, or "0" to "K - 1"; with a colour for each.

    ModelError if the number of names differs from the network's number of classes.
    """
    stated = checkpoint.card.classes
    if stated is None:
        names: Any = checkpoint.card.settings.get("class_names") or [str(number) for number in range(count)]
        stated = Classes(tuple(map(str, names)))
    if len(stated.names) != count:
        raise ModelError(
            f"model {checkpoint.name}: its card names {len(stated.names)} classes, and its network has {count}; take weights "
            "and card from the same checkpoint"
        )
    return stated if stated.colours else Classes(stated.names, class_colours(stated.names))
