"""Pictures of rows, made when they are asked for: small ones for the grid, larger ones for a look at a single row.

Legend: H rows, W columns of a slice.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
from PIL import Image

from pixelmill.jobs.serving.exchange import JPEG, KEEP, Answer, Asked
from pixelmill.jobs.serving.served_run import ServedRun
from pixelmill.pipelines.arrow import type_of
from pixelmill.pipelines.browsing.bounded_cache import BoundedCache
from pixelmill.pipelines.browsing.row_cells import columns_of_pictures
from pixelmill.pipelines.browsing.row_table import Place
from pixelmill.pipelines.findings.fingerprint_rows import THUMBNAIL, base_of
from pixelmill.pipelines.outputs.encoding import HOUNSFIELD
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.tables import hu_columns
from pixelmill.workers.codecs.thumbnails import as_jpeg, thumbnail
from pixelmill.workers.errors import JobError, RowError

if TYPE_CHECKING:
    from pixelmill.workers.ct.sections import Section

SIZES = {"small": 240, "large": 1280}
"""Pixels of the longer side."""
CACHE_BYTES = 128 << 20
INPUT = "input"
DEFAULT_WINDOW = "soft-tissue"
Size = Literal["small", "large"]


class Pictures:
    """Makes JPEGs, a few at a time, and keeps the last ones in memory."""

    def __init__(self, most_bytes: int = CACHE_BYTES) -> None:
        self._made = BoundedCache[bytes](most_bytes, len)
        self._decoding = threading.BoundedSemaphore(max(2, os.cpu_count() or 2))

    @property
    def held_bytes(self) -> int:
        return self._made.held_bytes

    def answer(self, run: ServedRun, asked: Asked) -> Answer:
        """A picture of a row: of its input, or of a column. RowError or JobError, in words, where it can't be shown."""
        number, which = asked.number("row"), asked.path["which"]
        size = asked.query.get("size", "small")
        if size not in SIZES:
            raise JobError(f"size {size[:20]!a}: there are {', '.join(SIZES)}")
        window = asked.query.get("window", DEFAULT_WINDOW)
        key = (run.number, run.table.generation, number, which, size, window)
        made = self._made.get(key, lambda: self._make(run, number, which, SIZES[size], window))
        return Answer(made, JPEG, headers=KEEP)

    def kept(self, key: tuple[object, ...], make: Callable[[], Image.Image]) -> bytes:
        """Another picture as JPEG, made within the same bounds."""

        def made() -> bytes:
            with self._decoding:
                return as_jpeg(make())

        return self._made.get(key, made)

    def _make(self, run: ServedRun, number: int, which: str, longer_px: int, window: str) -> bytes:
        place = run.table.place_of(number)
        with explained(run.folder.uri, "reading a picture"):
            if which == INPUT:
                return self._of_input(run, place, longer_px)
            schema = run.schema()
            if which not in columns_of_pictures(schema):
                raise JobError(
                    f"{which[:80]!a} is no column of pictures; there are {', '.join(columns_of_pictures(schema)) or 'none'}"
                )
            if type_of(schema, which) == HOUNSFIELD:
                with self._decoding:
                    return as_jpeg(slice_picture(run, schema, place, which, longer_px, window))
            data = run.cells.picture(place, which)
            if data is None:
                raise RowError("stored", "NotMade", "was not made of this input")
            return self._shrunk(data, longer_px)

    def _of_input(self, run: ServedRun, place: Place, longer_px: int) -> bytes:
        """The input, or its stored thumbnail where it can't be read any more or is too large to show."""
        inputs = run.inputs(place.part)
        stored = stored_thumbnail(run)
        try:
            if inputs is None:
                raise RowError("fetch", "NotShown", "the inputs of this run can't be shown here")
            return self._shrunk(inputs.read(place), longer_px)
        except RowError:
            data = None if stored is None else run.cells.picture(place, stored)
            if data is None:
                raise
            return self._shrunk(data, longer_px)

    def _shrunk(self, data: bytes, longer_px: int) -> bytes:
        with self._decoding:
            return as_jpeg(thumbnail(data, longer_px))


def stored_thumbnail(run: ServedRun) -> str | None:
    """The column of small pictures that the stage fingerprint stored."""
    base = base_of(run.schema())
    return None if base is None else f"{base}{THUMBNAIL}"


def picture_choices(run: ServedRun) -> list[str]:
    """What a row can be shown as: its input first, then the columns of pictures. A stored thumbnail stands in for the input."""
    schema, small = run.schema(), stored_thumbnail(run)
    made = [name for name in columns_of_pictures(schema) if name != small]
    if not run.table.rows:
        return made
    has_input = run.inputs(run.table.place_of(0).part) is not None or small is not None
    return [INPUT, *made] if has_input else made


def slice_picture(
    run: ServedRun, schema: pa.Schema, place: Place, column: str, longer_px: int, window: str
) -> Image.Image:
    """A slice in Hounsfield units through a window, upright and in true proportions where its row says how it lies."""
    from pixelmill.workers.ct.sections import slice_section

    if column not in hu_columns(schema):
        raise JobError(f"{column} holds blocks of volumes; slices are shown")
    facts = run.cells.values(
        place, [name for name in ("height", "width", "spacing_mm", "orientation") if name in schema.names]
    )
    values = run.cells.numbers(place, column)
    height, width = facts.get("height") or 0, facts.get("width") or 0
    if values is None or len(values) != height * width:
        raise RowError("stored", "NotMade", f"does not hold {height} x {width} values")
    hu_HW = np.asarray(values, np.int16).reshape(height, width)
    spacing = facts.get("spacing_mm")
    spacing_mm = (1.0, 1.0) if not spacing else (float(spacing[0]), float(spacing[1]))
    return windowed_picture(slice_section(hu_HW, spacing_mm, facts.get("orientation")), window, longer_px)


def windowed_picture(section: Section, window: str, longer_px: int) -> Image.Image:
    """A section through a window of a known name, its pixels square."""
    from pixelmill.workers.ct.contact_sheet import tile_of
    from pixelmill.workers.ct.windows import WINDOWS

    if window not in WINDOWS:
        raise JobError(f"window {window[:40]!a}: there are {', '.join(WINDOWS)}")
    tile = tile_of(section, WINDOWS[window], "")
    height_mm, width_mm = tile.extent_mm
    px_per_mm = longer_px / max(height_mm, width_mm, 1e-6)
    size = (max(1, round(width_mm * px_per_mm)), max(1, round(height_mm * px_per_mm)))
    return Image.fromarray(tile.levels_HW).resize(size, Image.Resampling.BICUBIC, reducing_gap=3).convert("RGB")
