"""Runs of CT in the browser: series, slices, verdicts of an index, curves of labels; keyed ids alone, no names of objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pixelmill.jobs.serving.exchange import JPEG, KEEP, Answer, Asked, as_answer
from pixelmill.jobs.serving.pictures import DEFAULT_WINDOW, SIZES, Pictures, windowed_picture
from pixelmill.jobs.serving.served_run import ServedRun
from pixelmill.pipelines.browsing.row_table import Place
from pixelmill.pipelines.ct.curve_documents import CurveReport
from pixelmill.pipelines.ct.slice_rows import SeriesOfRows, SliceRow, require_slices, series_of_rows
from pixelmill.pipelines.inputs.ct_series import SERIES
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.tables import open_parquet, read_rows
from pixelmill.workers.errors import JobError, RowError

VERDICT_COLUMNS = [
    "series_id", "objects", "slices", "usable_2d", "usable_3d", "reasons_2d", "reasons_3d", "rows", "columns", "step_mm",
    "tilt_degrees",
]  # fmt: skip
"""Of INDEX/series, without patients and without the members, which hold names of objects."""
UNKNOWN_SPACING_MM = (1.0, 1.0)


def series(run: ServedRun, asked: Asked, others: Sequence[ServedRun]) -> Answer:
    """The series of a run of slices with their verdicts as far as an index that is served too gives them, or the verdicts of an
    index."""
    verdicts = _verdicts(run)
    if verdicts:
        return as_answer({"kind": "index", "series": list(verdicts.values())})
    known = {key: verdict for other in others for key, verdict in _verdicts(other).items()}
    return as_answer({"kind": "slices", "series": [_described(each, known) for each in _series(run)]})


def _verdicts(run: ServedRun) -> dict[str, dict[str, Any]]:
    """By the id of the series; empty for a run that is no index."""
    return run.kept("verdicts", lambda: tuple(run.folder.names(SERIES)), lambda: _read_verdicts(run))


def _read_verdicts(run: ServedRun) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name in run.folder.names(SERIES):
        with run.folder.open(f"{SERIES}/{name}") as file, open_parquet(file) as parquet:
            if set(VERDICT_COLUMNS) <= set(parquet.schema_arrow.names):
                found |= {row["series_id"]: row for row in read_rows(parquet, VERDICT_COLUMNS).to_pylist()}
    return found


def _series(run: ServedRun) -> list[SeriesOfRows]:
    def read() -> list[SeriesOfRows]:
        require_slices(run.folder)
        return list(series_of_rows(run.folder))

    return run.kept("series", lambda: run.stamp, read)


def _why_flat(each: SeriesOfRows) -> list[str]:
    """Why a series is no volume, by its rows alone."""
    return [] if each.is_volume else [each.why_flat()]


def _described(each: SeriesOfRows, known: dict[str, dict[str, Any]]) -> dict[str, Any]:
    first, verdict = each.slices[0], known.get(each.series_id)
    return {
        "series_id": each.series_id,
        "slices": len(each.slices),
        "rows": first.height,
        "columns": first.width,
        "step_mm": each.step_mm,
        "spacing_mm": first.spacing_mm,
        "usable_2d": True,
        "usable_3d": each.is_volume,
        "reasons_2d": [] if verdict is None else verdict["reasons_2d"],
        "reasons_3d": _why_flat(each) if verdict is None else verdict["reasons_3d"],
        "positions_mm": [slice_row.position_mm for slice_row in each.slices],
    }


def slice_answer(run: ServedRun, asked: Asked, pictures: Pictures) -> Answer:
    """One slice of a series through a window, by the place of the series in the list and of the slice in the series."""
    found = _series(run)
    number, place = asked.number("series"), asked.number("slice")
    if number >= len(found) or place >= len(found[number].slices):
        raise JobError(f"there is no slice {place} of series {number}; the run has {len(found)} series")
    window, size = asked.query.get("window", DEFAULT_WINDOW), asked.query.get("size", "large")
    if size not in SIZES:
        raise JobError(f"size {size[:20]!a}: there are {', '.join(SIZES)}")
    wanted = found[number].slices[place]
    key = (run.number, run.table.generation, "slice", wanted.part, wanted.row, window, size)
    with explained(run.folder.uri, "reading a slice"):
        made = pictures.kept(key, lambda: windowed_picture(_section(run, wanted), window, SIZES[size]))
    return Answer(made, JPEG, headers=KEEP)


def _section(run: ServedRun, wanted: SliceRow) -> Any:
    from pixelmill.workers.ct.sections import slice_section

    values = run.cells.numbers(Place(wanted.part, wanted.row, ""), "hu")
    if values is None or len(values) != wanted.height * wanted.width:
        raise RowError(
            "stored", "NotMade", f"does not hold {wanted.height} x {wanted.width} values; ingest the series again"
        )
    hu_HW = values.reshape(wanted.height, wanted.width)
    return slice_section(hu_HW, wanted.spacing_mm or UNKNOWN_SPACING_MM, wanted.orientation)


def curve(run: ServedRun, asked: Asked) -> Answer:
    """The points of a curve of labels."""
    stored = run.folder.read("curve.json")
    if stored is None:
        raise JobError(f"{run.folder.uri}: holds no curve; `pixelmill ct curve` writes one")
    try:
        return as_answer(CurveReport.of(stored).model_dump())
    except ValueError as error:
        raise JobError(
            f"{run.folder.uri}/curve.json: is no report of a curve; run `pixelmill ct curve` again"
        ) from error
