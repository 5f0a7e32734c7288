"""The classes that the card of one of our checkpoints states, read without its weights. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from pixelmill.workers.drawn_classes import FACADES


@dataclass(frozen=True)
class StatedClasses:
    """Names by id, and colours (red, green, blue) if they are stated."""

    names: tuple[str, ...]
    colours: tuple[tuple[int, ...], ...] | None = None

    @property
    def identity(self) -> dict[str, object]:
        """The facts that must be equal for equal outputs."""
        named: dict[str, object] = {"classes": list(self.names)}
        return named if self.colours is None else named | {"colours": [list(each) for each in self.colours]}


def classes_in(written: Mapping[str, Any]) -> StatedClasses | None:
    """The classes in a card's JSON: its own, those in the settings of older cards, or those of the recipe crn's facades.

    None if it states none, or states them in a form that loading refuses.
    """
    match written.get("classes"):
        case {"names": [*names], "colours": [*colours]}:
            levels = tuple(tuple(cast("Sequence[int]", each)) for each in colours if isinstance(each, list))
            return StatedClasses(tuple(map(str, names)), levels)
        case {"names": [*names]}:
            return StatedClasses(tuple(map(str, names)))
        case _:
            return _older(written)


def _older(written: Mapping[str, Any]) -> StatedClasses | None:
    settings, config = (cast("Mapping[str, Any]", written.get(key) or {}) for key in ("settings", "config"))
    match settings.get("class_names"):
        case [_, *_] as names:
            return StatedClasses(tuple(map(str, names)))
        case _:
            is_facades = written.get("recipe") == "crn" and config.get("classes") == len(FACADES)
            return StatedClasses(tuple(FACADES), tuple(FACADES.values())) if is_facades else None
