"""Slices of CT with labels: images/NAME.* with masks/NAME.png (0 and 255), or a folder of slices for each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import pyarrow as pa

from pixelmill.pipelines.inputs.sources import Ignored
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.dataset import DataSet, joined
from pixelmill.pipelines.training.folders import children
from pixelmill.pipelines.training.layouts.classes import Classes
from pixelmill.pipelines.training.layouts.ct_slices import facts_of
from pixelmill.pipelines.training.layouts.pairing import paired
from pixelmill.workers.recipes import Role

FOLDERS = {"image": "images", "label": "masks"}


class CtLabelled:
    """A slice with the mask of a structure, or with its class."""

    ROLES: ClassVar[tuple[Role, ...]] = (Role("image", "hu"), Role("label", "ct label"))

    def is_here(self, uris: Sequence[str], access: Access) -> bool:
        return True

    def find(self, uris: Sequence[str], access: Access, classes: Sequence[str] | None) -> DataSet:
        masked = [set(FOLDERS.values()) <= children(uri, access).keys() for uri in uris]
        if not all(masked):
            found = Classes().find(uris, access, classes)
            return _with_facts(found, found.roles["image"], access)
        sets: list[DataSet] = []
        for uri in uris:
            ignored = Ignored()
            sets.append(DataSet(paired(uri, FOLDERS, access, ignored), access, ignored=ignored.by_suffix))
        found = joined(sets)
        return _with_facts(found, found.roles["image"], access)


def _with_facts(found: DataSet, images: pa.Table, access: Access) -> DataSet:
    facts, notes = facts_of(images, access)
    return replace(found, slices=facts, notes=(*found.notes, *notes))
