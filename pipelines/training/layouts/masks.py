"""images/NAME.*, labels/NAME.png (a picture of class ids), classes.json beside them or one folder up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pixelmill.pipelines.inputs.sources import Ignored
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.dataset import DataSet, joined
from pixelmill.pipelines.training.folders import children, shared_file
from pixelmill.pipelines.training.layouts.pairing import paired
from pixelmill.workers.recipes import Role


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
    tables = paired(uri, {"image": "images", "label": "labels"}, access, ignored)
    constants = shared_file(uri, "classes", "classes.json", access)
    return DataSet(tables, access, constants=constants, ignored=ignored.by_suffix)
