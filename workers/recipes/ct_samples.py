"""Samples and crops of CT slices, shared by the recipes over them: the normalisation is applied when a batch is made.

Legend: B batch, C channels, D slices, H height, W width, S side of the network's slices.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from pixelmill.workers.ct.normalization import LEAST_BODY, Method, Normalization, body_share
from pixelmill.workers.ct.slice_facts import SliceFacts, thinned
from pixelmill.workers.ct.slice_files import slice_values
from pixelmill.workers.errors import DataError, RowError
from pixelmill.workers.recipes import RecipeSettings, Sample

BLOCK_DEFAULTS = {"size_px": 128, "crop_px": 64, "batch": 4}


class CtSettings(RecipeSettings):
    """`windows`, `normalise`, `body_crop` and `size_px` are the normalisation (workers/ct/normalization.py), which the card
    keeps with the network. With `dims: 3`, over the blocks of `ct ingest --volumes`, the defaults are size_px 128, the side of
    its blocks, crop_px 64 and batch 4. `thin_mm` trains on slices at least so far apart in each series, `drop_air` leaves out
    slices of air, which are recorded in failed/ as LeftOut.
    """

    dims: Literal[2, 3] = 2
    widths: tuple[PositiveInt, ...] = (24, 48, 96, 192, 256)
    windows: tuple[str, ...] = ("wide",)
    normalise: Method = "window"
    body_crop: bool = False
    size_px: PositiveInt = 256
    thin_mm: PositiveFloat | None = None
    drop_air: bool = True
    flip: Annotated[bool, Field(description="mirror half of the slices left to right")] = True

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_blocks(cls, given: dict[str, Any]) -> dict[str, Any]:
        """A batch of slices does not fit into memory as one of blocks, and blocks are not resized again."""
        if str(given.get("dims")) != "3":
            return given
        return {name: value for name, value in BLOCK_DEFAULTS.items() if name in cls.model_fields} | given

    @property
    def normalization(self) -> Normalization:
        return Normalization(self.windows, self.normalise, self.body_crop, self.size_px)


def decoded(data: bytes, settings: CtSettings) -> Sample:
    """{"values": int16 or uint8, SS, or DSS of a block; "spread": what `normalization` stretches it by}. DataError for bytes of
    another kind, RowError LeftOut for a slice of air."""
    values = slice_values(data)
    if (values.ndim == 3) != (settings.dims == 3):
        shape = " x ".join(map(str, values.shape))
        raise DataError(f"holds {shape} values, and dims is {settings.dims}; give slices to 2 and blocks to 3")
    if settings.drop_air and body_share(values) < LEAST_BODY:
        raise RowError("decode", "LeftOut", "is a slice of air, which drop_air leaves out")
    fitted = settings.normalization.fitted(values)
    return {"values": fitted, "spread": settings.normalization.spread_of(fitted)}


def thinned_to(settings: CtSettings, slices: SliceFacts) -> np.ndarray:
    """The indices that `thin_mm` keeps."""
    if settings.thin_mm is None:
        return np.arange(len(slices.patients))
    return thinned(slices, settings.thin_mm)


def corner(shape: Sequence[int], side_px: int, chances: np.ndarray) -> tuple[slice, ...]:
    """A crop of `side_px` along each axis, or of the whole axis where it is shorter, placed by chances in [0, 1)."""
    sides = [min(side_px, length) for length in shape]
    starts = [int(chance * (length - side + 1)) for length, side, chance in zip(shape, sides, chances, strict=True)]
    return tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))


def generator_of(sample: Sample) -> np.random.Generator:
    """Random numbers that depend on the sample's values alone: for evaluations that draw, in whatever parts."""
    return np.random.default_rng(zlib.crc32(np.ascontiguousarray(sample["values"]).tobytes()))
