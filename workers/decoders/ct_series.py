"""The slices of a CT series in Hounsfield units, in order along the normal: one input of many pieces, many rows.

The first piece is what the index knows of the series (pipelines/inputs/ct_series.py), the others are its objects in order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pixelmill.workers.decoders import Decoded
from pixelmill.workers.pictures import Kind, Picture

if TYPE_CHECKING:
    from pixelmill.workers.ct.facts import ObjectFacts
    from pixelmill.workers.ct.geometry import Geometry
    from pixelmill.workers.ct.hounsfield import HuSlice

_DOUBLES = pa.list_(pa.float64())


class CtSeriesDecoder:
    """Every slice of a series as hu16, with its keyed ids and its geometry. A series is whole, or it fails."""

    fields: tuple[pa.Field[Any], ...] = (
        pa.field("series_id", pa.string()),
        pa.field("patient_id", pa.string()),
        pa.field("slice_id", pa.string()),
        pa.field("scanner_id", pa.string()),
        pa.field("split", pa.string()),
        pa.field("usable_3d", pa.bool_()),
        pa.field("position_mm", pa.float64()),
        pa.field("spacing_mm", _DOUBLES),
        pa.field("orientation", _DOUBLES),
        pa.field("thickness_mm", pa.float64()),
        pa.field("phase_percent", pa.float64()),
        pa.field("kernel", pa.string()),
        pa.field("clipped", pa.int32()),
        pa.field("padded", pa.int32()),
    )
    meanings: Mapping[str, str] = {
        "series_id": "keyed id of the series: HMAC-SHA256 of its uid, 128 bits",
        "patient_id": "keyed id of the patient: HMAC-SHA256 of issuer and PatientID, 128 bits",
        "slice_id": "keyed id of the slice: HMAC-SHA256 of its uid, 128 bits, and the number of a frame of several",
        "scanner_id": "keyed id of manufacturer and model, to group by",
        "split": "train, val or test: the part of the patient, by a hash of its keyed id",
        "usable_3d": "whether the slices of the series are a regular volume",
        "position_mm": "place along the normal of the slice, in mm; slices of a series ascend; null where none is stated",
        "spacing_mm": "distance of rows, distance of columns, in mm",
        "orientation": "directions of a row and of a column in the patient's coordinates, 3 + 3 numbers",
        "thickness_mm": "SliceThickness, in mm; not the distance of slices",
        "phase_percent": "phase of the heart's or the breath's cycle where it is stated, in percent",
        "kernel": "class of the reconstruction kernel: smooth, medium or sharp; null where it is unknown",
        "clipped": "values that int16 does not hold, clipped",
        "padded": "values that are padding and were not measured; they keep the scanner's value, which windows show as air",
    }
    makes_many = True
    takes_many = False
    rows_per_input = 100.0
    kind: Kind = "hu16"

    def need_bytes(self, pieces: Sequence[bytes]) -> int:
        from pixelmill.workers.ct.series_slices import sizes_of

        sizes = sizes_of(pieces)
        return 2 * sum(size.pixels for size in sizes) + max((size.decode_bytes for size in sizes), default=0)

    def check(self, pieces: Sequence[bytes], *, max_pixels: int) -> None:
        from pixelmill.workers.ct.series_slices import check_sizes

        check_sizes(pieces, max_pixels=max_pixels)

    def decode(self, pieces: Sequence[bytes], *, max_pixels: int) -> Iterator[Decoded]:
        from pixelmill.workers.ct.series_slices import known_of, series_slices
        from pixelmill.workers.typed_torch import from_numpy

        known = known_of(pieces)
        for slice_id, stated, made in series_slices(pieces, max_pixels=max_pixels):
            spacing_mm = stated.geometry and stated.geometry.spacing_mm
            picture = Picture(from_numpy(made.hu_HW)[None], "hu16", spacing_mm)
            yield Decoded(picture, _columns(known, slice_id, stated, made))


def _columns(facts: Mapping[str, Any], slice_id: str, stated: ObjectFacts, made: HuSlice) -> dict[str, object]:
    from pixelmill.workers.ct.splits import part_of

    geometry = stated.geometry
    return {
        "series_id": facts["series_id"],
        "patient_id": facts["patient_id"],
        "slice_id": slice_id,
        "scanner_id": facts["scanner_id"],
        "split": part_of(facts["patient_id"]),
        "usable_3d": facts["usable_3d"],
        "position_mm": None if geometry is None else _place_mm(geometry),
        "spacing_mm": geometry and geometry.spacing_mm,
        "orientation": geometry and geometry.orientation,
        "thickness_mm": stated.thickness_mm,
        "phase_percent": stated.phase_percent,
        "kernel": stated.kernel,
        "clipped": made.clipped,
        "padded": made.padded,
    }


def _place_mm(geometry: Geometry) -> float | None:
    """The place along the normal; None where there is no normal."""
    import numpy as np

    from pixelmill.workers.ct.geometry import normal_of

    try:
        return float(np.asarray(geometry.position_mm) @ normal_of(geometry.orientation))
    except ValueError:
        return None
