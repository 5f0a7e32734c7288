"""Divide the work into orders; imports little, so that planning never waits for Ray."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from pixelmill.pipelines.outputs.parts import Part


@dataclass(frozen=True)
class Order:
    """Work for one actor call: the rows of one part, published as `name`."""

    name: str
    parts: tuple[Part, ...]

    def to_json(self) -> str:
        return json.dumps({"name": self.name, "parts": [vars(part) for part in self.parts]})


def orders_for(parts: Iterable[Part]) -> tuple[Order, ...]:
    """One order for each part."""
    return tuple(Order(part.name, (part,)) for part in parts)
