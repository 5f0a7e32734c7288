"""Cityscapes: leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png, gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png or _labelTrainIds.png.

The 19 classes of the benchmark count, by their train ids; every other id is void. Labels by train ids are taken where each
picture has one. Data may also be one split, DIR/leftImg8bit/val. The labels of the test split that are published are empty.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import ClassVar

from pixelmill.pipelines.inputs.manifest_rows import table_of
from pixelmill.pipelines.inputs.sources import Entry, Ignored
from pixelmill.pipelines.stores.access import Access, join
from pixelmill.pipelines.training.dataset import CLASSES, DataSet, joined
from pixelmill.pipelines.training.folders import children
from pixelmill.pipelines.training.layouts.pairing import pictures_below, unique
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes import Role

IMAGES, LABELS = "leftImg8bit", "gtFine"
SPLITS = ("train", "val")
VOID = 255
TRAIN_IDS = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light", 20: "traffic sign",
    21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train",
    32: "motorcycle", 33: "bicycle",
}  # fmt: skip
"""The classes that count by their ids in labelIds, in the order of their train ids."""


class Cityscapes:
    """A picture and the class of each of its pixels."""

    ROLES: ClassVar[tuple[Role, ...]] = (Role("image", "picture"), Role("label", "class map"))

    def is_here(self, uris: Sequence[str], access: Access) -> bool:
        return all(_is_split(uri) or IMAGES in children(uri, access) for uri in uris)

    def parts(self, uri: str, access: Access) -> dict[str, str]:
        """The splits with labels."""
        if _is_split(uri) or IMAGES not in children(uri, access):
            return {}
        listed = children(join(uri, IMAGES), access)
        return {name: join(uri, f"{IMAGES}/{name}") for name in SPLITS if name in listed}

    def find(self, uris: Sequence[str], access: Access, classes: Sequence[str] | None) -> DataSet:
        splits = [split for uri in uris for split in ([uri] if _is_split(uri) else self.parts(uri, access).values())]
        if not splits:
            raise DataError(f"{', '.join(map(scrub, uris))}: {IMAGES} has no folder train or val; it has to have one")
        found = [_cityscapes(split.rstrip("/"), access) for split in splits]
        return found[0] if len(found) == 1 else joined(found)


def _is_split(uri: str) -> bool:
    return uri.rstrip("/").rpartition("/")[0].rpartition("/")[2] == IMAGES


def _cityscapes(uri: str, access: Access) -> DataSet:
    folder, _, split = uri.rpartition("/")
    root = folder.rpartition("/")[0]
    if LABELS not in children(root, access):
        raise DataError(
            f"{scrub(root)}: has {IMAGES} and no {LABELS}; extract the labels, gtFine_trainvaltest.zip, there"
        )
    ignored = Ignored()
    images = _by_name(pictures_below(uri, access, ignored), f"_{IMAGES}")
    files = list(pictures_below(join(root, f"{LABELS}/{split}"), access, ignored))
    labels, is_numbered = _labels_of(images, files)
    if missing := [name for name in images if name not in labels]:
        raise DataError(
            f"{scrub(uri)}: {missing[0]} and {len(missing) - 1:,} more have no label in {LABELS}/{split}; add it"
        )
    if not images:
        raise DataError(f"{scrub(uri)}: has no pictures named *_{IMAGES}.png; extract {IMAGES}_trainvaltest.zip there")
    names = sorted(images)
    tables = {role: table_of([each[name] for name in names]) for role, each in (("image", images), ("label", labels))}
    ids = {place if is_numbered else number: place for place, number in enumerate(TRAIN_IDS)}
    stated = {"classes": list(TRAIN_IDS.values()), "ignore_index": VOID, "ids": ids}
    return DataSet(tables, access, constants={CLASSES: json.dumps(stated).encode()}, ignored=ignored.by_suffix)


def _labels_of(images: dict[str, Entry], files: Sequence[Entry]) -> tuple[dict[str, Entry], bool]:
    """Labels by the names of their pictures, and whether they hold train ids, as they do where every picture has such."""
    by_train_id = _by_name(files, f"_{LABELS}_labelTrainIds")
    is_numbered = images.keys() <= by_train_id.keys()
    return (by_train_id if is_numbered else _by_name(files, f"_{LABELS}_labelIds")), is_numbered


def _by_name(files: Iterable[Entry], ending: str) -> dict[str, Entry]:
    """The files CITY_SEQUENCE_FRAME + ending, by the first part."""
    stems = ((entry.uri.rpartition("/")[2].rpartition(".")[0], entry) for entry in files)
    return unique((stem.removesuffix(ending), entry) for stem, entry in stems if stem.endswith(ending))
