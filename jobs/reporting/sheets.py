"""Contact sheets: inputs beside what was made of them; drawn at random, at both ends of a score, by class, by cluster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.findings import stored
from pixelmill.pipelines.findings.chosen_rows import ChosenRow, Inputs, chosen_rows, picture_names, sampled_ids
from pixelmill.pipelines.findings.class_rows import FOLDER, NOTHING, classes_of
from pixelmill.pipelines.findings.fingerprint_rows import THUMBNAIL, base_of
from pixelmill.pipelines.findings.run_facts import ranked_ids, score_columns
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.codecs.thumbnails import as_jpeg, thumbnail
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import JobError, RowError
from pixelmill.workers.wording import counted

TILE_PX = 200
ENDS = 8
CLUSTERS, PER_CLUSTER = 8, 6
CLASSES, PER_CLASS = 12, 6
PREFERRED_SCORES = ("_error", "_confidence", "outlier_score", "_sharpness")
"""Ends of the names of columns, the first that a run has is shown where no score is named."""


@dataclass(frozen=True)
class Tile:
    """A picture as JPEG, or the reason why there is none."""

    label: str
    jpeg: bytes | None
    reason: str = ""


@dataclass(frozen=True)
class RowCard:
    """One row: its tiles, its name, and a few words."""

    id: str
    name: str
    words: str
    tiles: list[Tile]


@dataclass(frozen=True)
class Sheet:
    title: str
    note: str
    cards: list[RowCard]


@dataclass(frozen=True)
class _Plan:
    """The rows of a sheet before their pictures are read: (id, words)."""

    title: str
    note: str
    rows: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


@dataclass(frozen=True)
class Chosen:
    """Which rows to show: how many at random, the score and the classes (None: what suits the run), and the seed."""

    sampled: int
    score: str | None = None
    by: str | None = None
    seed: int = 0


def sheets_of(run: Folder, schema: pa.Schema, inputs: Inputs | None, chosen: Chosen) -> list[Sheet]:
    """The sheets of a run with finished rows. JobError for a score that is no column of numbers, or no column of classes."""
    drawn = [(each, "") for each in sampled_ids(run, chosen.sampled, chosen.seed)]
    plans = [
        _Plan("Sampled", "drawn at random", drawn),
        *_by_score(run, schema, chosen.score),
        *_by_class(run, chosen),
        *_by_cluster(run),
    ]
    ids = [row for plan in plans for row, _ in plan.rows]
    tiles = tiles_of(run, schema, inputs, ids)
    return [_as_sheet(plan, tiles) for plan in plans if plan.rows]


def _as_sheet(plan: _Plan, tiles: dict[str, tuple[str, list[Tile]]]) -> Sheet:
    cards = [RowCard(row, tiles[row][0], words, tiles[row][1]) for row, words in plan.rows if row in tiles]
    return Sheet(plan.title, plan.note, cards)


def _by_score(run: Folder, schema: pa.Schema, score: str | None) -> list[_Plan]:
    there = score_columns(schema)
    if score is not None and score not in there:
        raise JobError(f"{run.uri}: {score} is no column of one number a row; there are {', '.join(there) or 'none'}")
    ends = [name for end in PREFERRED_SCORES for name in there if name.endswith(end)]
    column = score or next(iter(ends), None)
    outliers = _outliers(run) if score is None else []
    if column is None:
        return outliers
    highest, lowest = ranked_ids(run, column, ENDS)
    return [
        *outliers,
        _Plan(f"Highest {column}", "", [(row, f"{value:.4g}") for row, value in highest]),
        _Plan(f"Lowest {column}", "", [(row, f"{value:.4g}") for row, value in lowest]),
    ]


def _outliers(run: Folder) -> list[_Plan]:
    found = stored.read(run, "outliers")
    if found is None or "outlier_score" not in found.rows.column_names:
        return []
    scores_N = np.array(found.rows["outlier_score"].to_pylist(), np.float64)
    order = np.argsort(-scores_N, kind="stable")[:ENDS]
    ids = strings_of(found.rows["id"].take(order))
    rows = [(row, f"{score:.3f}") for row, score in zip(ids, scores_N[order].tolist(), strict=True)]
    return [_Plan("Outliers", "farthest from their nearest neighbours, by cosine distance", rows)]


def _by_class(run: Folder, chosen: Chosen) -> list[_Plan]:
    if chosen.by == NOTHING:
        return []
    found = classes_of(run, chosen.by, CLASSES, PER_CLASS, chosen.seed)
    if found is None:
        return []
    what = "Folder" if found.by == FOLDER else found.by
    plans = [
        _Plan(f"{what} {each.name}", f"{counted(each.rows, 'row')}; drawn at random", [(row, "") for row in each.ids])
        for each in found.largest
    ]
    if found.others and plans:
        plans[-1] = replace(plans[-1], note=f"{plans[-1].note}; {found.others:,} more of its kind are not shown")
    return plans


def _by_cluster(run: Folder) -> list[_Plan]:
    found = stored.read(run, "clusters")
    if found is None:
        return []
    labels_N = np.array(found.rows["cluster"].to_pylist(), np.int64)
    distances_N = np.array(found.rows["distance"].to_pylist(), np.float64)
    ids = found.rows["id"]
    plans: list[_Plan] = []
    for label in range(min(int(labels_N.max(initial=-1)) + 1, CLUSTERS)):
        members = np.flatnonzero(labels_N == label)
        nearest = members[np.argsort(distances_N[members], kind="stable")[:PER_CLUSTER]]
        rows = [(row, "") for row in strings_of(ids.take(nearest))]
        plans.append(_Plan(f"Cluster {label}", f"{counted(len(members), 'row')}; the nearest to its centre", rows))
    return plans


# ---------------------------------------------------------------------------------------------------------------- tiles


def tiles_of(
    run: Folder, schema: pa.Schema, inputs: Inputs | None, ids: Sequence[str]
) -> dict[str, tuple[str, list[Tile]]]:
    """Name and tiles of each row, by its id: the input first, then every picture that was made of it."""
    base = base_of(schema)
    made = [name for name in picture_names(schema) if base is None or name != f"{base}{THUMBNAIL}"]
    small = [] if base is None else [f"{base}{THUMBNAIL}"]
    read = {} if inputs is None else {row: _tile("input", data) for row, data in inputs.read(sorted(set(ids)))}
    found: dict[str, tuple[str, list[Tile]]] = {}
    for row in chosen_rows(run, ids, [*made, *small]):
        tiles = _first_tile(read.get(row.id), row, small)
        found[row.id] = (name_of(row), [*tiles, *(_tile(name, row.pictures[name]) for name in made)])
    return found


def _first_tile(tile: Tile | None, row: ChosenRow, small: Iterable[str]) -> list[Tile]:
    """The input, or its thumbnail where the input can't be read any more."""
    if tile is not None and tile.jpeg is not None:
        return [tile]
    kept = [_tile("thumbnail", row.pictures[name]) for name in small if row.pictures[name] is not None]
    return kept or ([] if tile is None else [tile])


def name_of(row: ChosenRow) -> str:
    """The uri of a row, and its member of an archive."""
    member = row.values.get("member")
    return scrub(str(row.values["uri"])) + (f" {member}" if member else "")


def _tile(label: str, data: bytes | RowError | None) -> Tile:
    if data is None:
        return Tile(label, None, "was not made")
    try:
        if isinstance(data, RowError):
            raise data
        return Tile(label, as_jpeg(thumbnail(data, TILE_PX)))
    except RowError as error:
        return Tile(label, None, f"{error.error_type}: {scrub(str(error))}")
