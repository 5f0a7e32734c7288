"""`pixelmill ct show`: contact sheets of what `ct ingest` wrote, one row of tiles for each series."""

from __future__ import annotations

import difflib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from shlex import quote
from typing import TYPE_CHECKING, NamedTuple

from pixelmill.jobs import inspect as inspection
from pixelmill.jobs.documents.credentials import refuse_credentials
from pixelmill.jobs.places import absolute
from pixelmill.pipelines.ct.nearest_slices import nearest_slices
from pixelmill.pipelines.ct.slice_rows import SeriesOfRows, SliceRow, pixels_of, require_slices, series_of_rows
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from pixelmill.workers.ct.contact_sheet import SheetRow, Tile
    from pixelmill.workers.ct.sections import Section
    from pixelmill.workers.networks.ct_unet import CtAutoencoder

ROWS_PER_SHEET = 8
SHORT = 8
"""The characters of a keyed id that are shown: enough to name a series by."""
FLAT_SLICES = 3
"""Slices that are shown of a series that is no volume."""
UNKNOWN_SPACING_MM = (1.0, 1.0)
DEFAULT_WINDOWS = ("soft-tissue", "lung")
NEIGHBOURS = 5
SHEETS = "explore/contact-sheets/sheet.png"


@dataclass(frozen=True)
class Asked:
    """What is to be shown; `to` is the first sheet's file, the others get a number. `series` is an id or how it begins."""

    out: str
    to: str | None = None
    windows: tuple[str, ...] = DEFAULT_WINDOWS
    series: str | None = None
    count: int = 8
    model: str | None = None
    """An autoencoder whose reconstructions are shown below each series."""
    codes: str | None = None
    """A run of `embed` over the slices, by which the nearest slices of other series are shown below each series."""


class Neighbour(NamedTuple):
    """A slice of another series whose code is near."""

    cosine: float
    series_id: str
    slice: SliceRow


@dataclass(frozen=True)
class Extras:
    """How series are shown; `near` are the nearest slices by the id of a series, empty without codes."""

    windows: tuple[str, ...]
    network: CtAutoencoder | None
    near: Mapping[str, Sequence[Neighbour]]


def show(asked: Asked, say: Callable[[str], None]) -> list[str]:
    """Write the sheets, and say of each series how it is shown; returns the URIs of the sheets. Raises JobError where there is
    nothing to show."""
    _require_windows(asked.windows)
    place = _place_of(asked)
    network = None if asked.model is None else _loaded(asked.model)
    folder = inspection.open_run(asked.out)
    with explained(folder.uri, "reading the slices"):
        require_slices(folder)
        chosen = _chosen(folder, asked)
        near = _neighbours(folder, asked.codes, chosen)
    from pixelmill.workers.ct.contact_sheet import draw

    rows = (row for series in chosen for row in _rows_of(folder, series, Extras(asked.windows, network, near), say))
    sheets: list[str] = []
    while some := list(islice(rows, ROWS_PER_SHEET)):
        sheets.append(_publish(place, len(sheets), draw(some)))
    return sheets


def _require_windows(names: Sequence[str]) -> None:
    from pixelmill.workers.ct.windows import WINDOWS

    for name in names:
        if name not in WINDOWS:
            near = difflib.get_close_matches(name, WINDOWS, n=1, cutoff=0.5)
            meant = f"did you mean {near[0]}? " if near else ""
            raise JobError(f"--window {name}: there is no such window; {meant}there are {', '.join(WINDOWS)}")


def _place_of(asked: Asked) -> str:
    """The file of the first sheet, in its canonical spelling."""
    place = absolute(asked.to or f"{asked.out.rstrip('/')}/{SHEETS}")
    if not place.lower().endswith(".png"):
        raise JobError(f"--to {asked.to}: contact sheets are PNG; name a file that ends in .png")
    return place


def _publish(place: str, number: int, sheet: Image.Image) -> str:
    """Write one sheet: NAME.png, then NAME-2.png and so on."""
    where, _, name = place.rpartition("/")
    name = name if number == 0 else f"{name[:-4]}-{number + 1}.png"
    file = io.BytesIO()
    sheet.save(file, "PNG")
    with explained(place, "writing the contact sheets"):
        Folder(where, Access()).publish(name, file.getvalue())
    return f"{where}/{name}"


def _chosen(folder: Folder, asked: Asked) -> list[SeriesOfRows]:
    """The first series, or those whose id begins as was asked."""
    wanted = (asked.series or "").lower()
    chosen = list(islice((s for s in series_of_rows(folder) if s.series_id.startswith(wanted)), asked.count))
    if not chosen and asked.series is None:
        raise JobError(f"{folder.uri}: holds no slices; `pixelmill inspect {quote(folder.uri)}` says what failed")
    if not chosen:
        some = ", ".join(s.series_id[:SHORT] for s in islice(series_of_rows(folder), 5))
        raise JobError(f"{folder.uri}: holds no series {asked.series}; there are {some} and so on: series_id in data/")
    return chosen


def _rows_of(folder: Folder, series: SeriesOfRows, extras: Extras, say: Callable[[str], None]) -> Iterator[SheetRow]:
    from pixelmill.workers.ct.contact_sheet import SheetRow

    with explained(folder.uri, "reading the slices"):
        sections = _volume_sections(folder, series) if series.is_volume else _flat_sections(folder, series)
    how = "three planes" if series.is_volume else f"slices alone, no volume: {series.why_flat()}"
    say(f"{series.series_id[:SHORT]}: {_size(series)}; {how}")
    tiles = [_tile(section, name, place) for name in extras.windows for section, place in sections]
    yield SheetRow(f"{series.series_id[:SHORT]}   {_size(series)}", tiles)
    if extras.near:
        with explained(folder.uri, "reading the slices"):
            nearest = list(_neighbour_tiles(folder, series, extras))
        yield SheetRow(
            f"{series.series_id[:SHORT]}   and the nearest slices of other series, by cosine about the mean code",
            nearest,
        )
    if extras.network is not None:
        with explained(folder.uri, "reading the slices"):
            compared = _reconstructions(folder, series, extras.network)
        yield SheetRow(f"{series.series_id[:SHORT]}   as the network sees it, and reconstructed", compared)


def _middle(series: SeriesOfRows) -> SliceRow:
    return series.slices[len(series.slices) // 2]


def _neighbours(folder: Folder, codes: str | None, chosen: Sequence[SeriesOfRows]) -> dict[str, list[Neighbour]]:
    """The nearest slices of the middle slice of each series, by its id; empty without codes."""
    if codes is None:
        return {}
    found = nearest_slices(inspection.open_run(codes), [(series, _middle(series)) for series in chosen], NEIGHBOURS)
    wanted = {(near.part, near.row) for several in found for near in several}
    slices = {
        (each.part, each.row): (series.series_id, each)
        for series in series_of_rows(folder)
        for each in series.slices
        if (each.part, each.row) in wanted
    }
    return {
        series.series_id: [Neighbour(n.cosine, *slices[n.part, n.row]) for n in several if (n.part, n.row) in slices]
        for series, several in zip(chosen, found, strict=True)
    }


def _neighbour_tiles(folder: Folder, series: SeriesOfRows, extras: Extras) -> Iterator[Tile]:
    """The middle slice and those that are nearest to it, through the first window."""
    from pixelmill.workers.ct.contact_sheet import tile_of
    from pixelmill.workers.ct.sections import slice_section
    from pixelmill.workers.ct.windows import WINDOWS

    first = Neighbour(1.0, series.series_id, _middle(series))
    for cosine, series_id, each in (first, *extras.near[series.series_id]):
        (hu_HW,) = pixels_of(folder, [each])
        section = slice_section(hu_HW, each.spacing_mm or UNKNOWN_SPACING_MM, each.orientation)
        caption = f"{cosine:.2f}  {series_id[:SHORT]} {_where(section, each.position_mm)}"
        yield tile_of(section, WINDOWS[extras.windows[0]], caption)


def _size(series: SeriesOfRows) -> str:
    first = series.slices[0]
    rows_mm, columns_mm = first.spacing_mm or (None, None)
    spacing = "spacing unknown" if rows_mm is None else f"{columns_mm:.3g} x {rows_mm:.3g} x {series.step_mm:.3g} mm"
    return f"{len(series.slices)} slices of {first.width} x {first.height}, {spacing}"


def _volume_sections(folder: Folder, series: SeriesOfRows) -> list[tuple[Section, float | None]]:
    from pixelmill.workers.ct.sections import middle_sections

    first, middle = series.slices[0], series.slices[len(series.slices) // 2]
    assert first.spacing_mm is not None
    assert first.orientation is not None
    slices = pixels_of(folder, series.slices)
    made = middle_sections(slices, len(series.slices), series.step_mm, first.spacing_mm, first.orientation)
    return [(section, middle.position_mm if section.plane == "axial" else None) for section in made]


def _flat_sections(folder: Folder, series: SeriesOfRows) -> list[tuple[Section, float | None]]:
    from pixelmill.workers.ct.sections import slice_section

    return [
        (slice_section(hu_HW, each.spacing_mm or UNKNOWN_SPACING_MM, each.orientation), each.position_mm)
        for each, hu_HW in _some(folder, series)
    ]


def _some(folder: Folder, series: SeriesOfRows) -> Iterator[tuple[SliceRow, np.ndarray]]:
    """A few slices, at equal distances, with their pixels."""
    count = len(series.slices)
    places = sorted({(2 * number + 1) * count // (2 * FLAT_SLICES) for number in range(FLAT_SLICES)})
    chosen = [series.slices[place] for place in places]
    return zip(chosen, pixels_of(folder, chosen), strict=True)


def _reconstructions(folder: Folder, series: SeriesOfRows, network: CtAutoencoder) -> list[Tile]:
    """Inputs beside reconstructions. The network sees squares of one size, so that only proportions are true."""
    from pixelmill.workers.ct.contact_sheet import Tile
    from pixelmill.workers.ct.sections import slice_section
    from pixelmill.workers.prediction.ct_reconstruction import seen_and_reconstructed

    tiles: list[Tile] = []
    for each, hu_HW in _some(folder, series):
        for kind, levels_HW in zip(("input", "reconstruction"), seen_and_reconstructed(network, hu_HW), strict=True):
            section = slice_section(levels_HW, each.spacing_mm or UNKNOWN_SPACING_MM, each.orientation)
            tiles.append(Tile(section.values_HW, section.spacing_mm, _where(section, each.position_mm) + f", {kind}"))
    return tiles


def _tile(section: Section, window: str, position_mm: float | None) -> Tile:
    from pixelmill.workers.ct.contact_sheet import tile_of
    from pixelmill.workers.ct.windows import WINDOWS

    return tile_of(section, WINDOWS[window], f"{_where(section, position_mm)}, {window}")


def _where(section: Section, position_mm: float | None) -> str:
    return f"{section.plane or 'slice'}" + ("" if position_mm is None else f" at {position_mm:.0f} mm")


def _loaded(model: str) -> CtAutoencoder:
    from pixelmill.pipelines.training import checkpoints
    from pixelmill.workers.models.zoo import zoo_path
    from pixelmill.workers.prediction.ct_reconstruction import slice_autoencoder

    refuse_credentials(model)
    network, _ = checkpoints.load_from_store(model if zoo_path(model) is not None else absolute(model), Access())
    return slice_autoencoder(network, model)
