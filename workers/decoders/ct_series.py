"""The slices of a CT series in Hounsfield units, in order along the normal: one input of many pieces, many rows.

The first piece is what the index knows of the series (pipelines/inputs/ct_series.py), the others are its objects in order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pixelmill.workers.decoders import Decoded
from pixelmill.workers.errors import RowError
from pixelmill.workers.pictures import Kind, Picture

if TYPE_CHECKING:
    import numpy as np

    from pixelmill.workers.ct.facts import Geometry, ObjectFacts
    from pixelmill.workers.ct.hounsfield import HuSlice

_DOUBLES = pa.list_(pa.float64())
SAMPLED = 16
"""Every so many-th value of a slice is looked at to judge whether values are Hounsfield units."""
BYTES_PER_PIXEL = 2 + 2 + 8 + 8
"""Of decoding a slice: what was stored, Hounsfield units, and the arithmetic in between."""


class CtSeriesDecoder:
    """Every slice of a series as hu16, with its keyed ids and its geometry. A series is whole, or it fails."""

    fields: tuple[pa.Field[Any], ...] = (
        pa.field("series_id", pa.string()),
        pa.field("patient_id", pa.string()),
        pa.field("slice_id", pa.string()),
        pa.field("scanner_id", pa.string()),
        pa.field("usable_3d", pa.bool_()),
        pa.field("position_mm", pa.float64()),
        pa.field("spacing_mm", _DOUBLES),
        pa.field("orientation", _DOUBLES),
        pa.field("thickness_mm", pa.float64()),
        pa.field("phase_percent", pa.float64()),
        pa.field("clipped", pa.int32()),
        pa.field("padded", pa.int32()),
    )
    makes_many = True
    rows_per_input = 100.0
    kind: Kind = "hu16"

    def need_bytes(self, pieces: Sequence[bytes]) -> int:
        pixels = [_pixels_of(piece) for piece in pieces[1:]]
        return 2 * sum(pixels) + BYTES_PER_PIXEL * max(pixels, default=0)

    def check(self, pieces: Sequence[bytes], *, max_pixels: int) -> None:
        for piece in pieces[1:]:
            if (pixels := _pixels_of(piece)) > max_pixels:
                raise RowError("decode", "TooLarge", f"a slice has {pixels:,} pixels, over max_pixels = {max_pixels:,}")

    def decode(self, pieces: Sequence[bytes], *, max_pixels: int) -> Iterator[Decoded]:
        from pixelmill.workers.ct.pixels import read_slice
        from pixelmill.workers.typed_torch import from_numpy

        facts = json.loads(pieces[0])
        samples: list[np.ndarray] = []
        for number, (piece, slice_id) in enumerate(zip(pieces[1:], facts["objects"], strict=True)):
            try:
                stated, made = read_slice(piece, max_pixels=max_pixels)
            except RowError as error:
                raise RowError(error.stage, error.error_type, f"slice {number}: {error}") from None
            samples.append(made.hu_HW.ravel()[::SAMPLED])
            spacing_mm = stated.geometry and stated.geometry.spacing_mm
            picture = Picture(from_numpy(made.hu_HW)[None], "hu16", spacing_mm)
            yield Decoded(picture, _columns(facts, slice_id, stated, made))
        _require_hounsfield(samples)


def _columns(facts: Mapping[str, Any], slice_id: str, stated: ObjectFacts, made: HuSlice) -> dict[str, object]:
    geometry = stated.geometry
    return {
        "series_id": facts["series_id"],
        "patient_id": facts["patient_id"],
        "slice_id": slice_id,
        "scanner_id": facts["scanner_id"],
        "usable_3d": facts["usable_3d"],
        "position_mm": None if geometry is None else _place_mm(geometry),
        "spacing_mm": geometry and geometry.spacing_mm,
        "orientation": geometry and geometry.orientation,
        "thickness_mm": stated.thickness_mm,
        "phase_percent": stated.phase_percent,
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


def _require_hounsfield(samples: Sequence[np.ndarray]) -> None:
    """Raises RowError where the values of the whole series can't be Hounsfield units."""
    import numpy as np

    from pixelmill.workers.ct.hounsfield import misscaled

    if samples and (reason := misscaled(np.concatenate(samples))) is not None:
        raise RowError("decode", "NotHu", f"the values are no Hounsfield units: {reason}")


def _pixels_of(piece: bytes) -> int:
    """Rows x columns x frames, by the header. RowError where there is no header."""
    from pixelmill.workers.ct.facts import facts_of
    from pixelmill.workers.ct.header import PREFIXES_BYTES, parse_header

    header = next(
        (h for size in PREFIXES_BYTES if (h := parse_header(piece[:size], is_whole=len(piece) <= size))), None
    )
    found = facts_of(header or parse_header(piece, is_whole=True) or _truncated()).layout
    return 0 if found is None else found.rows * found.columns * found.frames


def _truncated() -> Any:
    raise RowError("decode", "Truncated", "the header is not whole; copy the object again")
