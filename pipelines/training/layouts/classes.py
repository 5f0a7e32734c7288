"""Pictures with labels: the integer column `label` of Parquet, or else the first folder below the data set.

cats/2019/1.jpg is a cat.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from typing import ClassVar

import numpy as np

from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.inputs.sources import folder_of
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.dataset import CLASSES, DataSet
from pixelmill.pipelines.training.layouts.pictures import find_pictures
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes import Role


class Classes:
    """A picture and the number of its class."""

    ROLES: ClassVar[tuple[Role, ...]] = (Role("image", "picture"), Role("label", "class"))

    def is_here(self, uris: Sequence[str], access: Access) -> bool:
        return True

    def find(self, uris: Sequence[str], access: Access, classes: Sequence[str] | None) -> DataSet:
        found = find_pictures(uris, access, is_labelled=True)
        return found if found.labels is not None else _by_folder(found, uris, classes)


def _by_folder(found: DataSet, uris: Sequence[str], classes: Sequence[str] | None) -> DataSet:
    """The pictures labelled with the number of their folder; every sample gets the names of the folders."""
    where = ", ".join(map(scrub, uris))
    folders = _class_folders(strings_of(found.first["uri"]), uris, classes, found.access)
    names = sorted(set(folders)) if classes is None else list(classes)
    if strangers := sorted(set(folders) - set(names)):
        raise DataError(
            f"{where}: the folder {strangers[0]} is a class that was not trained on; there are {', '.join(names[:12])}"
        )
    if len(names) < 2:
        raise DataError(f"{where}: has no labels; put pictures into a folder for each class")
    labels = np.array([names.index(folder) for folder in folders], np.int64)
    notes = _on_deeper_folders(strings_of(found.first["uri"]), folders)
    return replace(found, labels=labels, constants={CLASSES: json.dumps(names).encode()}, notes=notes)


def _on_deeper_folders(pictures: Sequence[str], folders: Sequence[str]) -> tuple[str, ...]:
    """A note which level of folders is the class, where pictures lie in folders below it."""
    for picture, folder in zip(pictures, folders, strict=True):
        *parents, name = picture.split("/")
        if parents and parents[-1] != folder:
            below = "/".join(parents[len(parents) - parents[::-1].index(folder) :])
            return (
                f"the class is the first folder below the data, whatever folders lie in it: {folder}/{below}/{name} is {folder}",
            )
    return ()


def _class_folders(
    pictures: Sequence[str], uris: Sequence[str], classes: Sequence[str] | None, access: Access
) -> list[str]:
    """The folder that is each picture's class: the first below the common folder of all pictures of a uri. Where the
    classes are known, it is the first with their names.
    """
    bases = sorted({folder_of(uri, access) for uri in uris}, key=len, reverse=True)
    base_of = [next((base for base in bases if f"{picture}/".startswith(f"{base}/")), "") for picture in pictures]
    folders: dict[str, str] = {}
    for base in set(base_of):
        below = {
            p: p[len(base) :].strip("/").split("/")[:-1] for p, b in zip(pictures, base_of, strict=True) if b == base
        }
        depth = _class_depth(base, list(below.values()), classes)
        path = [base.rpartition("/")[2]]
        folders |= {picture: [*path, *parts][depth] for picture, parts in below.items()}
    return [folders[picture] for picture in pictures]


def _class_depth(base: str, folders: list[list[str]], classes: Sequence[str] | None) -> int:
    """The depth of the folders that are classes: 0 is the base itself. Raises DataError where it differs."""
    least = min(map(len, folders), default=0)
    if classes is not None:
        for depth in range(1, least + 1):
            if {parts[depth - 1] for parts in folders} <= set(classes):
                return depth
    levels = zip(*folders, strict=False)  # as deep as all of them go
    shared = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))
    if shared < least:
        return shared + 1
    if any(len(parts) > least for parts in folders):
        there = "/".join([base.rpartition("/")[2], *folders[0][:shared]])
        raise DataError(
            f"{scrub(base)}: pictures lie in {there} itself, beside folders that could be classes; "
            "put all of them into a folder for each class"
        )
    return shared
