"""Layouts of data sets, one per file, found by the roles that a recipe needs.

To add a layout: write `layouts/NAME.py` with a class that follows `Layout`, and add a line to `LAYOUTS` in registry.py. Where
several layouts give what a recipe needs, the first one whose `is_here` is true is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol, runtime_checkable

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.workers.recipes import Role


class Layout(Protocol):
    """One arrangement of samples below a uri."""

    ROLES: ClassVar[tuple[Role, ...]]
    """The roles of its samples; optional ones exist in some data sets."""

    def is_here(self, uris: Sequence[str], access: Access) -> bool:
        """Whether the data has this layout; asked only where another layout gives the same roles."""
        ...

    def find(self, uris: Sequence[str], access: Access, classes: Sequence[str] | None) -> DataSet:
        """The samples below `uris`, in a fixed order. Raises DataError where there are none or where files do not pair.

        `classes` are the names that were trained on, in order, where classes are folders.
        """
        ...


@runtime_checkable
class StatesParts(Protocol):
    """A layout whose parts for training and validation are not folders of these names."""

    def parts(self, uri: str, access: Access) -> dict[str, str]:
        """What `find` takes for each part, by its name (train, val, test); nothing where `uri` is of another layout."""
        ...
