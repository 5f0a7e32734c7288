"""left/NAME.*, right/NAME.*, depth/NAME.png where there is one, calib.json beside them or one folder up.

Files of other names pair by a pattern, see patterns.py: DIR/{image_02/data/*.png,image_03/data/*.png} of KITTI.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pixelmill.pipelines.inputs.sources import Ignored
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.dataset import DataSet, joined
from pixelmill.pipelines.training.folders import children, shared_file
from pixelmill.pipelines.training.layouts.pairing import paired
from pixelmill.pipelines.training.layouts.patterns import base_of_pattern, is_pattern, paired_by_pattern
from pixelmill.workers.recipes import Role


class Stereo:
    """A rectified pair, its depth where it was measured."""

    ROLES: ClassVar[tuple[Role, ...]] = (
        Role("left", "picture"),
        Role("right", "picture"),
        Role("depth", "depth map", is_needed=False),
    )

    def is_here(self, uris: Sequence[str], access: Access) -> bool:
        return all(is_pattern(uri) or {"left", "right"} <= children(uri, access).keys() for uri in uris)

    def find(self, uris: Sequence[str], access: Access, classes: Sequence[str] | None) -> DataSet:
        found = [_stereo(uri, access) for uri in uris]
        return found[0] if len(found) == 1 else joined(found)


def _stereo(uri: str, access: Access) -> DataSet:
    ignored = Ignored()
    if is_pattern(uri):
        tables = paired_by_pattern(uri, [role.name for role in Stereo.ROLES], access, ignored)
        constants = shared_file(base_of_pattern(uri), "calibration", "calib.json", access)
        return DataSet(tables, access, constants=constants, ignored=ignored.by_suffix)
    has_depth = "depth" in children(uri, access)
    roles = {"left": "left", "right": "right"} | ({"depth": "depth"} if has_depth else {})
    constants = shared_file(uri, "calibration", "calib.json", access)
    tables = paired(uri, roles, access, ignored)
    return DataSet(tables, access, constants=constants, ignored=ignored.by_suffix)
