"""Choose the samples to evaluate a checkpoint on, and report which of them its training has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from pixelmill.pipelines.stores.access import Access, join
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.layouts.registry import find, stated_parts
from pixelmill.pipelines.training.marks import are_marked
from pixelmill.pipelines.training.splits import held_out_part
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import DataError
from pixelmill.workers.models.card import Card
from pixelmill.workers.recipes import Role


@dataclass(frozen=True)
class Seen:
    """The marks of the samples that a training has used: to train on, and to select its best step on. None where a card
    does not record them."""

    trained_on: frozenset[str] | None
    selected_on: frozenset[str] | None

    @classmethod
    def of(cls, card: Card) -> Seen:
        """Cards of earlier versions have no marks of what selected the step, and none of parts that are folders."""
        return cls(
            frozenset(card.trained_on) or None, None if card.selected_on is None else frozenset(card.selected_on)
        )


@dataclass(frozen=True)
class Unseen:
    """The samples to evaluate on; `says` describes them, the counts are of those that the training has used."""

    data: DataSet
    says: str
    trained_on: int
    selected_on: int


def to_evaluate(
    roles: Sequence[Role],
    uris: Sequence[str],
    part: str,
    seen: Seen,
    access: Access,
    classes: Sequence[str] | None = None,
) -> Unseen:
    """The samples to evaluate a checkpoint on.

    `part` is auto (test or val where there is one, and nothing that was trained on or that selected the step, if there
    is more), all, or the name of a folder. `classes` are the folders that it was trained on, in order.
    """
    if part == "auto":
        return _not_seen(roles, uris, seen, access, classes)
    whole = part == "all"
    found = find(roles, uris if whole else [_named(roles, uri, part, access) for uri in uris], access, classes)
    return _counted(found, "everything there is" if whole else part, seen)


def _named(roles: Sequence[Role], uri: str, part: str, access: Access) -> str:
    return stated_parts(roles, uri, access).get(part) or join(uri, part)


def _not_seen(
    roles: Sequence[Role], uris: Sequence[str], seen: Seen, access: Access, classes: Sequence[str] | None
) -> Unseen:
    places = [held_out_part(roles, uri, access) for uri in uris]
    found = find(roles, places, access, classes)
    trained, selected = (are_marked(found, marks or ()) for marks in (seen.trained_on, seen.selected_on))
    untrained = [index for index, is_trained in enumerate(trained) if not is_trained]
    if not untrained:
        raise DataError(
            f"{', '.join(map(scrub, uris))}: the checkpoint was trained on every sample there; give other data, or "
            "--split all to judge it on those all the same"
        )
    fresh = [index for index in untrained if not selected[index]]
    kept = fresh or untrained
    names = sorted({PurePosixPath(uri).name for uri in places} - {PurePosixPath(uri).name for uri in uris})
    without = _listed(
        (len(found) - len(untrained), "that were trained on"),
        (len(untrained) - len(kept), "that the step was selected on"),
    )
    where = f"in {', '.join(names)}" if names else "there"
    return _counted(found.take(kept), f"{len(kept):,} samples {where}" + (without and f", without {without}"), seen)


def _counted(data: DataSet, says: str, seen: Seen) -> Unseen:
    """The samples with a sentence on those that the training used, or may have used."""
    trained, selected = (sum(are_marked(data, marks or ())) for marks in (seen.trained_on, seen.selected_on))
    if used := _listed((trained, "were trained on"), (selected, "selected the step")):
        says = f"{says}; of these {used}: the figures are too good"
    unknown = [
        what
        for those, what in ((seen.trained_on, "was trained on"), (seen.selected_on, "selected its step on"))
        if those is None
    ]
    if unknown:
        says = f"{says}; the card does not record what the network {' and '.join(unknown)}: it may be these"
    return Unseen(data, says, trained, selected)


def _listed(*counts: tuple[int, str]) -> str:
    return " and ".join(f"{count:,} {what}" for count, what in counts if count)
