"""Begin a network with the weights of a checkpoint of its kind: every tensor by name and shape, and a new head for new classes.

The head is what changes its shape with the number of classes, found by building the network for one class more. Of a head the
rows of classes that both networks name are kept.

Legend: K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.card import Card
from pixelmill.workers.models.picture_model import Classes
from pixelmill.workers.models.weight_files import Shapes, shapes_of
from pixelmill.workers.networks.registry import encoders_for, network_types

ENCODER = "encoder."
NAMED = 6
"""The most names that a message lists."""


@dataclass(frozen=True)
class InitialReport:
    """What became of every tensor of the network, and of the checkpoint's that have no place in it.

    `kept` are pairs of places, in the checkpoint and here, of the classes whose rows of the `head` are kept; None where the head
    is loaded whole.
    """

    source: str
    loaded: tuple[str, ...]
    head: tuple[str, ...] = ()
    not_used: tuple[str, ...] = ()
    kept: tuple[tuple[int, int], ...] | None = None
    kept_classes: tuple[str, ...] = ()
    new_classes: tuple[str, ...] = ()
    is_reordered: bool = False

    def __str__(self) -> str:
        parts = [f"begins with {self.source}: {len(self.loaded)} of {len(self.loaded) + len(self.head)} tensors loaded"]
        if self.head:
            parts.append(f"{'head' if self.is_reordered else 'new head'} {_several(self.head)}")
        if self.is_reordered:
            parts.append("its classes are the same in another order, so its rows are put into the new one by name")
        elif self.kept_classes:
            parts.append(f"rows of the head kept for {_several(self.kept_classes)}")
        if self.new_classes and not self.is_reordered:
            parts.append(f"new classes {_several(self.new_classes)}")
        if self.not_used:
            parts.append(f"not used {_several(self.not_used)}")
        return "; ".join(parts)

    def facts(self) -> dict[str, Any]:
        """The report as a card keeps it."""
        return {
            "loaded": len(self.loaded),
            "new_head": [] if self.is_reordered else list(self.head),
            "not_used": list(self.not_used),
            "kept_classes": list(self.kept_classes),
            "new_classes": list(self.new_classes),
        }


@dataclass(frozen=True)
class Start:
    """The network to begin, by its shapes, and the classes that it is to predict; `head` has the axes that grow with K."""

    network: str
    shapes: Shapes
    classes: tuple[str, ...] | None
    class_count: int | None
    head: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])


def start_of(name: str, network: nn.Module, classes: Classes | None) -> Start:
    """What a network of the kind `name` takes; it may be on the meta device. Its `config` rebuilds it."""
    config: Any = network.config
    shapes, count = shapes_of(network.state_dict()), getattr(config, "classes", None)
    names = None if classes is None else classes.names
    if count is None:
        return Start(name, shapes, names, None)
    with torch.device("meta"), torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]
        wider = shapes_of(network_types(name)[1](replace(config, classes=count + 1)).state_dict())
    head = {
        key: tuple(axis for axis, (one, more) in enumerate(zip(shape, wider[key], strict=True)) if one != more)
        for key, shape in shapes.items()
        if shape != wider[key]
    }
    return Start(name, shapes, names, count, head)


def matched(start: Start, found: Shapes, card: Card, source: str) -> InitialReport:
    """What each tensor of `found`, the shapes of a checkpoint with this card, would become.

    ModelError where a tensor of the network has no match and does not belong to its head.
    """
    if card.network in encoders_for(start.network):
        return _encoder_matched(start, found, source)
    _refuse_misfit(start, found, source)
    before, count = class_names_of(card), card.config.get("classes")
    not_used = tuple(sorted(found.keys() - start.shapes.keys()))
    is_same = count == start.class_count and (before == start.classes or before is None or start.classes is None)
    if not start.head or is_same:
        return InitialReport(source, tuple(sorted(start.shapes)), not_used=not_used)
    loaded = tuple(sorted(start.shapes.keys() - start.head.keys()))
    now = start.classes or ()
    places = {name: place for place, name in enumerate(before or ())}
    kept = tuple((places[name], place) for place, name in enumerate(now) if name in places)
    return InitialReport(
        source,
        loaded,
        tuple(sorted(start.head)),
        not_used,
        kept,
        tuple(now[place] for _, place in kept),
        tuple(name for name in now if name not in places),
        is_reordered=bool(now) and sorted(before or ()) == sorted(now),
    )


@torch.no_grad()
def fill_from(
    network: nn.Module, start: Start, weights: Mapping[str, Tensor], card: Card, source: str
) -> InitialReport:
    """Copy the weights of a checkpoint into `network`, as `matched` says; what is new keeps its initial weights."""
    report = matched(start, shapes_of(weights), card, source)
    own = network.state_dict()
    for name in report.loaded:
        own[name].copy_(weights[name])
    for name in start.head if report.kept is not None else ():
        _keep_rows(own[name], weights[name], start.head[name], report.kept or (), start.class_count or 0)
    return report


def class_names_of(card: Card) -> tuple[str, ...] | None:
    """The classes of a checkpoint by name; None where they are numbers, or a name stands for two of them."""
    stated: Any = card.classes.names if card.classes else card.settings.get("class_names")
    names = tuple(map(str, stated or ()))
    return names if names and len(set(names)) == len(names) == card.config.get("classes") else None


def _keep_rows(
    own: Tensor, given: Tensor, axes: Sequence[int], kept: Sequence[tuple[int, int]], class_count: int
) -> None:
    """Copy what belongs to the classes in `kept`; nothing where an axis holds more than the classes."""
    if any(own.shape[axis] != class_count for axis in axes):
        return
    for pairs in product(kept, repeat=len(axes)):
        here: list[Any] = [slice(None)] * own.ndim
        there = list(here)
        for axis, (before, now) in zip(axes, pairs, strict=True):
            there[axis], here[axis] = before, now
        own[tuple(here)] = given[tuple(there)]


def _encoder_matched(start: Start, found: Shapes, source: str) -> InitialReport:
    """Every tensor of the encoder is loaded, from a network of another kind that has the same; all others are new."""
    loaded = tuple(sorted(name for name in start.shapes if name.startswith(ENCODER)))
    own = {name: start.shapes[name] for name in loaded}
    _refuse_misfit(replace(start, shapes=own, head={}), found, source)
    return InitialReport(
        source, loaded, tuple(sorted(start.shapes.keys() - own.keys())), tuple(sorted(found.keys() - own.keys()))
    )


def _refuse_misfit(start: Start, found: Shapes, source: str) -> None:
    faults = [
        f"{name} missing" if name not in found else f"{name} {found[name]} for {shape}"
        for name, shape in start.shapes.items()
        if name not in found or not _fits(shape, found[name], start.head.get(name, ()))
    ]
    if faults:
        raise ModelError(
            f"init_from {source}: {len(faults)} of {len(start.shapes)} tensors of this {start.network} have no match: "
            f"{_several(faults)}; take a checkpoint of the same config, or leave settings of the network out"
        )


def _fits(shape: tuple[int, ...], given: tuple[int, ...], free: Sequence[int]) -> bool:
    pairs = zip(shape, given, strict=False)
    return len(shape) == len(given) and all(one == other or axis in free for axis, (one, other) in enumerate(pairs))


def _several(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
