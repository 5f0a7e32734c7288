"""How a series becomes blocks of a volume: spacing, size and overlap of blocks, and whether tilted gantries are sheared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pixelmill.workers.errors import JobError

LEAST_SPACING_MM, MOST_SPACING_MM = 0.1, 50.0
MOST_BLOCK_VOXELS = 1 << 28


@dataclass(frozen=True)
class VolumeOptions:
    """`spacing_mm` between slices, rows and columns; `block` in slices, rows and columns; `overlap` in voxels, along each axis.
    Raises JobError where they make no blocks."""

    spacing_mm: tuple[float, float, float] = (1.5, 1.5, 1.5)
    block: tuple[int, int, int] = (64, 128, 128)
    overlap: int = 0
    shear_tilt: bool = False

    def __post_init__(self) -> None:
        if not all(LEAST_SPACING_MM <= each <= MOST_SPACING_MM for each in self.spacing_mm):
            raise JobError(
                f"volumes: spacing {_listed(self.spacing_mm)} mm is not between {LEAST_SPACING_MM} and {MOST_SPACING_MM} mm"
            )
        voxels = self.block[0] * self.block[1] * self.block[2]
        if min(self.block) < 1 or voxels > MOST_BLOCK_VOXELS:
            raise JobError(f"volumes: a block of {_listed(self.block)} has no voxels, or over {MOST_BLOCK_VOXELS:,}")
        if not 0 <= self.overlap < min(self.block):
            raise JobError(
                f"volumes: an overlap of {self.overlap} voxels leaves no step in a block of {_listed(self.block)}"
            )

    def as_json(self) -> dict[str, Any]:
        """Of values as JSON gives them back."""
        return {**asdict(self), "spacing_mm": list(self.spacing_mm), "block": list(self.block)}

    @classmethod
    def of_json(cls, stated: Mapping[str, Any]) -> VolumeOptions:
        return cls(tuple(stated["spacing_mm"]), tuple(stated["block"]), stated["overlap"], stated["shear_tilt"])


def _listed(values: tuple[float, ...]) -> str:
    return " x ".join(f"{value:g}" for value in values)
