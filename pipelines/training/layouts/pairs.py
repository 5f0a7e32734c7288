"""Pictures and their masks in one folder, cat.jpg and cat_mask.png, or wherever two patterns find them.

A pattern names both in braces, the pictures first, with one * each: DIR/{photos/*.jpg,masks/*_seg.png}. What stands for the
* is the name that pairs. classes.json lies beside the pictures or one folder up.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import ClassVar

from pixelmill.pipelines.inputs.sources import Entry, Ignored
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.dataset import DataSet, joined
from pixelmill.pipelines.training.folders import children, shared_file
from pixelmill.pipelines.training.layouts.pairing import pictures_below, tables_of, unique
from pixelmill.pipelines.training.layouts.patterns import base_of_pattern, is_pattern, paired_by_pattern
from pixelmill.workers.recipes import Role

ENDINGS = ("_mask", "_masks", "-mask", "_label", "_labels", "-label", "_gt", "_seg", "_segmentation", "_L")
"""Endings of masks beside their pictures."""


class Pairs:
    """A picture and the class of each of its pixels."""

    ROLES: ClassVar[tuple[Role, ...]] = (Role("image", "picture"), Role("label", "class map"))

    def is_here(self, uris: Sequence[str], access: Access) -> bool:
        return all(is_pattern(uri) or _has_masks(uri, access) for uri in uris)

    def find(self, uris: Sequence[str], access: Access, classes: Sequence[str] | None) -> DataSet:
        found = [_by_pattern(uri, access) if is_pattern(uri) else _by_ending(uri, access) for uri in uris]
        return found[0] if len(found) == 1 else joined(found)


def _has_masks(uri: str, access: Access) -> bool:
    """Whether a folder holds files, one of them a mask of another by its name."""
    stems = {PurePosixPath(name).stem for name, kind in children(uri, access).items() if kind == "file"}
    return any(stem.endswith(ending) and stem.removesuffix(ending) in stems for stem in stems for ending in ENDINGS)


def _by_pattern(uri: str, access: Access) -> DataSet:
    ignored = Ignored()
    tables = paired_by_pattern(uri, ("image", "label"), access, ignored)
    constants = shared_file(base_of_pattern(uri), "classes", "classes.json", access)
    return DataSet(tables, access, constants=constants, ignored=ignored.by_suffix)


def _by_ending(uri: str, access: Access) -> DataSet:
    ignored = Ignored()
    files = list(pictures_below(uri, access, ignored))
    ending, masks = _masks_among(files)
    images = unique((_stem(entry), entry) for entry in files if entry not in masks)
    labels = unique((_stem(entry).removesuffix(ending), entry) for entry in masks)
    places = {"image": "the folder, beside its mask", "label": f"the folder as its mask NAME{ending}"}
    tables = tables_of(uri, places, {"image": images, "label": labels}, f"or a pattern: DIR/{{*.jpg,*{ending}.png}}")
    constants = shared_file(uri, "classes", "classes.json", access)
    note = f"each picture NAME is paired with its mask NAME{ending}"
    return DataSet(tables, access, constants=constants, ignored=ignored.by_suffix, notes=(note,))


def _masks_among(files: Sequence[Entry]) -> tuple[str, list[Entry]]:
    """The ending that most masks have, and the files with it."""
    stems = {_stem(entry) for entry in files}
    counts = {
        ending: sum(stem.endswith(ending) and stem.removesuffix(ending) in stems for stem in stems)
        for ending in ENDINGS
    }
    best = max(counts, key=lambda ending: counts[ending])
    return best, [entry for entry in files if _stem(entry).endswith(best)]


def _stem(entry: Entry) -> str:
    return PurePosixPath(entry.uri).stem
