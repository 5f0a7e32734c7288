"""The map of a report: where each row lies, its cluster, and a small picture of it, packed for the page.

Legend: N points.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from PIL import Image

from pixelmill.jobs.reporting.sheets import name_of
from pixelmill.pipelines import explore
from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.findings import stored
from pixelmill.pipelines.findings.chosen_rows import Inputs, chosen_rows, picture_names
from pixelmill.pipelines.findings.clusters import ClusterOptions, clusters_of
from pixelmill.pipelines.findings.fingerprint_rows import THUMBNAIL, base_of
from pixelmill.pipelines.findings.projection import projected
from pixelmill.pipelines.findings.row_vectors import read_vectors
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.codecs.thumbnails import as_jpeg, thumbnail
from pixelmill.workers.errors import RowError

STEPS = 65_535
"""Coordinates are whole numbers from 0 to this."""
TILE_PX, TILES_PER_SIDE = 48, 16
ATLAS_QUALITY = 60
MOST_READ_INPUTS = 1_500
"""Where no thumbnails were stored, the inputs of so many points are read; the others have a name alone."""
MOST_CLUSTERS = 255


@dataclass(frozen=True)
class MapPoints:
    """Points with whole coordinates 0 to STEPS, y downwards; `tiles_N` is the place of each one's picture in the atlases, or
    -1."""

    names: list[str]
    x_N: np.ndarray
    y_N: np.ndarray
    clusters_N: np.ndarray
    tiles_N: np.ndarray
    atlases: list[bytes]
    rows: int
    """The rows of the whole run that have a place on the map."""


def map_of(run: Folder, column: str | None, most: int, inputs: Inputs | None, seed: int = 0) -> MapPoints | None:
    """The stored results `map` and `clusters` where they are fresh, otherwise made now and not stored. None for a run without
    vectors. JobError for vectors that can't be used."""
    if column is None and not explore.vector_columns(run):
        return None
    points, labels = _placed(run, column)
    order = np.sort(np.random.default_rng(seed).permutation(points.num_rows)[:most])
    ids = strings_of(points["id"].take(order))
    names, atlases, tiles_N = _pictures(run, ids, inputs)
    x_N, y_N = (np.array(points[name].take(order).to_pylist(), np.float64) for name in ("x", "y"))
    return MapPoints(
        names,
        whole_numbers(x_N),
        STEPS - whole_numbers(y_N),
        np.minimum(labels[order], MOST_CLUSTERS).astype(np.uint8),
        tiles_N,
        atlases,
        points.num_rows,
    )


def _placed(run: Folder, column: str | None) -> tuple[pa.Table, np.ndarray]:
    """Rows with x and y, and the cluster of each."""
    places, clusters = (stored.read(run, name) for name in ("map", "clusters"))
    usable = column is None and all(each is not None and not each.is_stale for each in (places, clusters))
    if usable and places is not None and clusters is not None and places.rows["id"].equals(clusters.rows["id"]):
        return places.rows, np.array(clusters.rows["cluster"].to_pylist(), np.int64)
    vectors = read_vectors(run, column)
    labels = clusters_of(vectors, ClusterOptions()).rows["cluster"]
    return projected(vectors).rows, np.array(labels.to_pylist(), np.int64)


def whole_numbers(values_N: np.ndarray) -> np.ndarray:
    """Coordinates between the percentiles 0.1 and 99.9, so that one far point does not squeeze all others."""
    if not len(values_N):
        return np.zeros(0, np.uint16)
    low, high = np.percentile(values_N, (0.1, 99.9))
    shares_N = np.clip((values_N - low) / max(high - low, 1e-12), 0, 1)
    return (shares_N * STEPS).round().astype(np.uint16)


def _pictures(run: Folder, ids: Sequence[str], inputs: Inputs | None) -> tuple[list[str], list[bytes], np.ndarray]:
    """Names, atlases, and for each id the place of its picture in them."""
    schema = explore.schema_of(run)
    base = base_of(schema)
    stored_pictures = [f"{base}{THUMBNAIL}"] if base else []
    columns = stored_pictures or picture_names(schema)[:1]
    name_by_id: dict[str, str] = {}
    tiles: dict[str, Image.Image] = {}
    if inputs is not None and not stored_pictures:
        columns = []
        step = max(1, -(-len(ids) // MOST_READ_INPUTS))
        tiles = {row: tile for row, data in inputs.read(ids[::step]) if (tile := _tile(data)) is not None}
    for row in chosen_rows(run, ids, columns):
        name_by_id[row.id] = name_of(row)
        if columns and (tile := _tile(row.pictures[columns[0]])) is not None:
            tiles[row.id] = tile
    order = [each for each in dict.fromkeys(ids) if each in tiles]
    place_of = {each: place for place, each in enumerate(order)}
    atlases = list(_atlases([tiles[each] for each in order]))
    return [name_by_id.get(each, each) for each in ids], atlases, np.array([place_of.get(each, -1) for each in ids])


def _tile(data: bytes | RowError | None) -> Image.Image | None:
    """The middle square of the picture; None for one that can't be shown."""
    if not isinstance(data, bytes):
        return None
    try:
        picture = thumbnail(data, 2 * TILE_PX)
    except RowError:
        return None
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.crop((left, top, left + side, top + side)).resize((TILE_PX, TILE_PX), Image.Resampling.BOX)


def _atlases(tiles: Sequence[Image.Image]) -> Iterator[bytes]:
    """Squares of TILES_PER_SIDE x TILES_PER_SIDE tiles, row by row; the last one is as high as it has to be."""
    each = TILES_PER_SIDE**2
    for first in range(0, len(tiles), each):
        chosen = tiles[first : first + each]
        rows = -(-len(chosen) // TILES_PER_SIDE)
        atlas = Image.new("RGB", (TILES_PER_SIDE * TILE_PX, rows * TILE_PX))
        for place, tile in enumerate(chosen):
            row, column = divmod(place, TILES_PER_SIDE)
            atlas.paste(tile, (column * TILE_PX, row * TILE_PX))
        yield as_jpeg(atlas, ATLAS_QUALITY)
