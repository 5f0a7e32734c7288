"""Every layout of a data set, and the choice by a recipe's roles."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.layouts import Layout, StatesParts
from pixelmill.workers.recipes import Role

LAYOUTS: dict[str, str] = {
    "pictures": "pixelmill.pipelines.training.layouts.pictures:Pictures",
    "classes": "pixelmill.pipelines.training.layouts.classes:Classes",
    "masks": "pixelmill.pipelines.training.layouts.masks:Masks",
    "pairs": "pixelmill.pipelines.training.layouts.pairs:Pairs",
    "voc": "pixelmill.pipelines.training.layouts.voc:Voc",
    "coco": "pixelmill.pipelines.training.layouts.coco:Coco",
    "cityscapes": "pixelmill.pipelines.training.layouts.cityscapes:Cityscapes",
    "ct-slices": "pixelmill.pipelines.training.layouts.ct_slices:CtSlices",
    "ct-labelled": "pixelmill.pipelines.training.layouts.ct_labelled:CtLabelled",
    "stereo": "pixelmill.pipelines.training.layouts.stereo:Stereo",
}
"""The place of each layout's class, which is imported when needed."""


def layout_of(name: str) -> Layout:
    """The layout of this name. Raises KeyError when there is none."""
    module, _, attribute = LAYOUTS[name].partition(":")
    return getattr(import_module(module), attribute)()


def layouts_for(roles: Sequence[Role]) -> list[str]:
    """The names of the layouts that give exactly the required roles."""
    needed = _needed(roles)
    return [name for name in LAYOUTS if _needed(layout_of(name).ROLES) == needed]


def stated_parts(roles: Sequence[Role], uri: str, access: Access) -> dict[str, str]:
    """The parts that a layout states by itself, such as lists of names, by name; nothing where folders are the parts."""
    for layout in map(layout_of, layouts_for(roles)):
        if isinstance(layout, StatesParts) and (parts := layout.parts(uri, access)):
            return parts
    return {}


def _needed(roles: Sequence[Role]) -> set[Role]:
    return {role for role in roles if role.is_needed}


def find(roles: Sequence[Role], uris: Sequence[str], access: Access, classes: Sequence[str] | None = None) -> DataSet:
    """The samples below `uris`, in a fixed order. Raises DataError where there are none or where files do not pair.

    Folders that are labels are numbered by their place in `classes`, or by the order of their names.
    """
    first, *others = [layout_of(name) for name in layouts_for(roles)]
    chosen = first
    if others:
        chosen = next((layout for layout in (first, *others) if layout.is_here(uris, access)), first)
    return chosen.find(uris, access, classes)
