"""images/NAME.*, labels/NAME.png (a picture of class ids), classes.json beside them or one folder up.

Where every label has one more ending, as in images/7.jpg and labels/7_mask.png, they pair without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pixelmill.pipelines.inputs.sources import Entry, Ignored
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.dataset import DataSet, joined
from pixelmill.pipelines.training.folders import children, shared_file
from pixelmill.pipelines.training.layouts.pairing import common_ending, files_in, pattern_hint, tables_of
from pixelmill.workers.recipes import Role

FOLDERS = {"image": "images", "label": "labels"}


class Masks:
    """A picture and the class of each of its pixels."""

    ROLES: ClassVar[tuple[Role, ...]] = (Role("image", "picture"), Role("label", "class map"))

    def is_here(self, uris: Sequence[str], access: Access) -> bool:
        return all({"images", "labels"} <= children(uri, access).keys() for uri in uris)

    def find(self, uris: Sequence[str], access: Access, classes: Sequence[str] | None) -> DataSet:
        found = [_masks(uri, access) for uri in uris]
        return found[0] if len(found) == 1 else joined(found)


def _masks(uri: str, access: Access) -> DataSet:
    ignored = Ignored()
    files = files_in(uri, FOLDERS, access, ignored)
    labels, notes = _without_ending(files["image"], files["label"])
    tables = tables_of(uri, FOLDERS, {**files, "label": labels}, pattern_hint(FOLDERS.values()))
    constants = shared_file(uri, "classes", "classes.json", access)
    return DataSet(tables, access, constants=constants, ignored=ignored.by_suffix, notes=notes)


def _without_ending(images: dict[str, Entry], labels: dict[str, Entry]) -> tuple[dict[str, Entry], tuple[str, ...]]:
    """The labels by the names of their pictures, and a note where those are not their own names."""
    ending = common_ending(list(images), list(labels))
    if ending is None:
        return labels, ()
    note = f"each picture NAME is paired with its label NAME{ending}"
    return {stem.removesuffix(ending): entry for stem, entry in labels.items()}, (note,)
