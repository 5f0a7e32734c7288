"""One row of an index for each object: numbers, words from closed sets, and keyed ids. No text of a header is copied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pixelmill.workers.ct.facts import Identity, Layout, ObjectFacts
from pixelmill.workers.ct.frames import Frame
from pixelmill.workers.ct.geometry import Geometry
from pixelmill.workers.ct.keyed_ids import IdKey
from pixelmill.workers.ct.object_names import NAMED_KINDS
from pixelmill.workers.ct.transfer_syntaxes import SYNTAXES
from pixelmill.workers.ct.verdicts import Member, slice_problem

_DOUBLES = pa.list_(pa.float64())
FIELDS: tuple[pa.Field[Any], ...] = (
    pa.field("object_id", pa.string()),
    pa.field("series_id", pa.string()),
    pa.field("loose_series_id", pa.string()),
    pa.field("patient_id", pa.string()),
    pa.field("frame_id", pa.string()),
    pa.field("scanner_id", pa.string()),
    pa.field("kind", pa.string()),
    pa.field("problem", pa.string()),
    pa.field("transfer_syntax", pa.string()),
    pa.field("rows", pa.int32()),
    pa.field("columns", pa.int32()),
    pa.field("frames", pa.int32()),
    pa.field("bits_allocated", pa.int32()),
    pa.field("bits_stored", pa.int32()),
    pa.field("position_mm", _DOUBLES),
    pa.field("orientation", _DOUBLES),
    pa.field("spacing_mm", _DOUBLES),
    pa.field("thickness_mm", pa.float64()),
    pa.field("slope", pa.float64()),
    pa.field("intercept", pa.float64()),
    pa.field("phase_percent", pa.float64()),
    pa.field("acquisition", pa.int64()),
    pa.field("kernel", pa.string()),
    pa.field("frame_geometry", pa.list_(_DOUBLES)),
)
"""The columns of INDEX/data beside id and uri.

The ids of NIfTI files and pictures are null: they follow from names (workers/ct/object_names.py), which series are made by.
object_id is of SOPInstanceUID, or of the meta header's, or else of the whole header. series_id is null where
SeriesInstanceUID is empty; then loose_series_id stands for frame of reference, series number and time. problem is why the
object is no usable slice, as "kind: sentence". frame_geometry has position, orientation and spacing of each frame of an
enhanced object or slice of a volume, 11 numbers; it is null for others.
"""
UNKNOWN_SYNTAX = "unknown"


def index_row(facts: ObjectFacts, digest: str, key: IdKey, installed: frozenset[str]) -> dict[str, Any]:
    """The row of one object; `digest` of its header stands for a uid where it has none."""
    layout, geometry = facts.layout, facts.geometry
    return {
        **(dict.fromkeys(_IDS) if facts.kind in NAMED_KINDS else _ids(facts.identity, digest, key)),
        "kind": facts.kind,
        "problem": slice_problem(facts, installed),
        "transfer_syntax": facts.transfer_syntax if facts.transfer_syntax in ("", *SYNTAXES) else UNKNOWN_SYNTAX,
        **_layout_columns(layout),
        "position_mm": geometry and geometry.position_mm,
        "orientation": geometry and geometry.orientation,
        "spacing_mm": geometry and geometry.spacing_mm,
        "thickness_mm": facts.thickness_mm,
        "slope": facts.slope,
        "intercept": facts.intercept,
        "phase_percent": facts.phase_percent,
        "acquisition": facts.acquisition,
        "kernel": facts.kernel,
        "frame_geometry": [_numbers_of(frame) for frame in facts.frames] or None,
    }


def members_of(row: Mapping[str, Any]) -> list[Member]:
    """What verdicts need of a row: of one slice, or of each frame."""
    if not row["frame_geometry"]:
        slices = row["frames"] if row["kind"] == "nifti" and row["problem"] is None else 1
        return [_member(row, _geometry(row))] * slices
    return [_member(row, _frame_geometry(each)) for each in row["frame_geometry"]]


_IDS = ("object_id", "series_id", "loose_series_id", "patient_id", "frame_id", "scanner_id")


def _ids(identity: Identity, digest: str, key: IdKey) -> dict[str, str | None]:
    return {
        "object_id": key.id_of("object", identity.object) if identity.object else key.id_of("object", "", digest),
        "series_id": key.id_of("series", identity.series) if identity.series else None,
        "loose_series_id": key.id_of(
            "series", "", identity.frame_of_reference, identity.series_number, identity.series_time
        ),
        "patient_id": key.id_of("patient", identity.issuer, identity.patient),
        "frame_id": key.id_of("frame", identity.frame_of_reference) if identity.frame_of_reference else None,
        "scanner_id": key.id_of("scanner", identity.scanner),
    }


def _member(row: Mapping[str, Any], geometry: Geometry | None) -> Member:
    return Member(
        row["patient_id"],
        row["kind"],
        _layout(row),
        geometry,
        row["phase_percent"],
        row["acquisition"],
        row["problem"],
    )


def _numbers_of(frame: Frame) -> list[float]:
    geometry = frame.geometry
    return [*geometry.position_mm, *geometry.orientation, *geometry.spacing_mm]


def _frame_geometry(values: Sequence[float]) -> Geometry:
    x, y, z, a, b, c, d, e, f, down, across = values
    return Geometry((x, y, z), (a, b, c, d, e, f), (down, across))


def _layout_columns(layout: Layout | None) -> dict[str, int | None]:
    names: Sequence[str] = ("rows", "columns", "frames", "bits_allocated", "bits_stored")
    return {name: None if layout is None else getattr(layout, name) for name in names}


def _layout(row: Mapping[str, Any]) -> Layout | None:
    if row["rows"] is None:
        return None
    return Layout(
        rows=row["rows"],
        columns=row["columns"],
        frames=row["frames"],
        samples=1,
        bits_allocated=row["bits_allocated"],
        bits_stored=row["bits_stored"],
        is_signed=False,
        is_grey=True,
        is_inverted=False,
    )


def _geometry(row: Mapping[str, Any]) -> Geometry | None:
    if row["position_mm"] is None:
        return None
    return Geometry(tuple(row["position_mm"]), tuple(row["orientation"]), tuple(row["spacing_mm"]))
