"""Blocks of the volume that a CT series is, resampled to one spacing: one input of many pieces, many rows.

The first piece is what the index knows of the series and how it is cut (pipelines/inputs/ct_series.py), the others are its
objects in order along the normal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pixelmill.workers.decoders import Decoded
from pixelmill.workers.errors import RowError
from pixelmill.workers.pictures import Kind, Picture

if TYPE_CHECKING:
    from pixelmill.workers.ct.facts import ObjectFacts
    from pixelmill.workers.ct.volume_blocks import Block
    from pixelmill.workers.ct.volume_grid import VolumeGrid
    from pixelmill.workers.ct.volume_options import VolumeOptions

_DOUBLES, _INTEGERS = pa.list_(pa.float64()), pa.list_(pa.int32())


class CtVolumeDecoder:
    """Every block of a series as volume, with its keyed ids and its geometry. A series is whole, or it fails."""

    fields: tuple[pa.Field[Any], ...] = (
        pa.field("depth", pa.int32()),
        pa.field("series_id", pa.string()),
        pa.field("patient_id", pa.string()),
        pa.field("scanner_id", pa.string()),
        pa.field("split", pa.string()),
        pa.field("block", _INTEGERS),
        pa.field("volume", _INTEGERS),
        pa.field("origin_mm", _DOUBLES),
        pa.field("spacing_mm", _DOUBLES),
        pa.field("orientation", _DOUBLES),
        pa.field("tilt_degrees", pa.float64()),
        pa.field("phase_percent", pa.float64()),
        pa.field("kernel", pa.string()),
        pa.field("margin", pa.int32()),
    )
    meanings: Mapping[str, str] = {
        "depth": "slices of the block",
        "series_id": "keyed id of the series: HMAC-SHA256 of its uid, 128 bits",
        "patient_id": "keyed id of the patient: HMAC-SHA256 of issuer and PatientID, 128 bits",
        "scanner_id": "keyed id of manufacturer and model, to group by",
        "split": "train, val or test: the part of the patient, by a hash of its keyed id",
        "block": "the first voxel of the block in the resampled volume: slice, row, column",
        "volume": "size of the resampled volume: slices, rows, columns",
        "origin_mm": "where the centre of the first voxel of the block lies, in the patient's coordinates",
        "spacing_mm": "distance of slices, rows and columns, in mm",
        "orientation": "directions of a row and of a column in the patient's coordinates, 3 + 3 numbers",
        "tilt_degrees": "angle of the gantry that was sheared straight, in degrees",
        "phase_percent": "phase of the heart's or the breath's cycle where it is stated, in percent",
        "kernel": "class of the reconstruction kernel: smooth, medium or sharp; null where it is unknown",
        "margin": "voxels of the block beyond the volume, filled with air, -1024",
    }
    makes_many = True
    takes_many = False
    rows_per_input = 20.0
    kind: Kind = "volume"

    def need_bytes(self, pieces: Sequence[bytes]) -> int:
        from pixelmill.workers.ct.series_slices import sizes_of
        from pixelmill.workers.ct.volume_blocks import cut_of, working_bytes

        _, grid, options = _plan(pieces)
        depth, height, width = options.block
        made = 2 * depth * height * width * cut_of(grid, options).count
        return made + working_bytes(grid, options) + max((size.decode_bytes for size in sizes_of(pieces)), default=0)

    def check(self, pieces: Sequence[bytes], *, max_pixels: int) -> None:
        from pixelmill.workers.ct.series_slices import check_sizes

        check_sizes(pieces, max_pixels=max_pixels)
        _plan(pieces)

    def decode(self, pieces: Sequence[bytes], *, max_pixels: int) -> Iterator[Decoded]:
        from pixelmill.workers.ct.series_slices import known_of, series_slices
        from pixelmill.workers.ct.volume_blocks import blocks
        from pixelmill.workers.typed_torch import from_numpy

        known = known_of(pieces)
        stated, grid, options = _plan(pieces)
        slices_HW = (each.made.hu_HW for each in series_slices(pieces, max_pixels=max_pixels))
        for block in blocks(slices_HW, grid, options):
            picture = Picture(from_numpy(block.hu_DHW)[:, None], "volume", options.spacing_mm)
            yield Decoded(picture, _columns(known, stated, grid, options, block))


def _plan(pieces: Sequence[bytes]) -> tuple[ObjectFacts, VolumeGrid, VolumeOptions]:
    """The facts of the first slice, the grid, and the options, by the headers. RowError where the slices are no volume."""
    from pixelmill.workers.ct.series_slices import known_of, slices_stated
    from pixelmill.workers.ct.verdicts import Member, verdict_of
    from pixelmill.workers.ct.volume_grid import grid_of
    from pixelmill.workers.ct.volume_options import VolumeOptions

    options = VolumeOptions.of_json(known_of(pieces)["volumes"])
    stated = slices_stated(pieces)
    verdict = verdict_of([Member("", "slice", each.layout, each.geometry, each.phase_percent) for each in stated])
    reasons = [reason for reason in verdict.reasons_3d if not (options.shear_tilt and reason.startswith("tilt:"))]
    if reasons:
        raise RowError("decode", "NotAVolume", "; ".join(reasons))
    if verdict.members != tuple(range(len(stated))):
        raise RowError(
            "decode", "NotAVolume", "the slices of its objects alternate; convert it to objects of one slice"
        )
    geometries = [each.geometry for each in stated if each.geometry is not None]
    layout = stated[0].layout
    assert layout is not None
    return stated[0], grid_of(geometries, layout.rows, layout.columns, options.spacing_mm), options


def _columns(
    known: Mapping[str, Any], stated: ObjectFacts, grid: VolumeGrid, options: VolumeOptions, block: Block
) -> dict[str, object]:
    from pixelmill.workers.ct.splits import part_of

    return {
        "depth": options.block[0],
        "series_id": known["series_id"],
        "patient_id": known["patient_id"],
        "scanner_id": known["scanner_id"],
        "split": part_of(known["patient_id"]),
        "block": block.start,
        "volume": grid.shape,
        "origin_mm": grid.place_mm(block.start),
        "spacing_mm": options.spacing_mm,
        "orientation": grid.orientation,
        "tilt_degrees": grid.tilt_degrees,
        "phase_percent": stated.phase_percent,
        "kernel": stated.kernel,
        "margin": block.margin,
    }
