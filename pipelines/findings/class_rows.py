"""The classes of a run's rows, with a few rows of each: by a column, by a classifier, or by the folders of the source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pyarrow as pa

from pixelmill.pipelines import explore
from pixelmill.pipelines.arrow import Field, fields_of
from pixelmill.pipelines.outputs.columns import PLACE
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError

FOLDER, NOTHING = "folder", "none"
MOST_FOLDERS = 50
"""A source with more folders, with one, or with one row in each is not divided by them unless it was asked for."""
NO_CLASSES = frozenset({"id", "uri", "member", "source_id", PLACE.name})


@dataclass(frozen=True)
class ClassRows:
    """A class: its name, the number of its rows, and the ids of a few drawn at random."""

    name: str
    rows: int
    ids: list[str]


@dataclass(frozen=True)
class Classes:
    """The classes of a run, the largest first."""

    by: str
    largest: list[ClassRows]
    others: int
    """How many classes there are beside these."""


def class_columns(schema: pa.Schema) -> list[str]:
    """Columns whose values can be classes: texts, whole numbers, yes or no, and lists of names, of which the first counts."""
    return [field.name for field in fields_of(schema) if field.name not in NO_CLASSES and _is_class(field.type)]


def _is_class(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind) or kind == _NAMES


_NAMES = pa.list_(pa.string())


def _is_of_classifier(field: Field) -> bool:
    return field.name.endswith("_name") and field.type == _NAMES


def classes_of(folder: Folder, by: str | None, most: int, each: int, seed: int = 0) -> Classes | None:
    """At most `most` classes with at most `each` rows. None where nothing was asked for and nothing divides the rows.

    `by` is a column, "folder", or None: what a classifier found, else the folders. JobError for any other column.
    """
    schema = explore.schema_of(folder)
    column = by or next((each.name for each in fields_of(schema) if _is_of_classifier(each)), FOLDER)
    if column != FOLDER and column not in class_columns(schema):
        there = ", ".join([FOLDER, *class_columns(schema)])
        raise JobError(f"{folder.uri}: {column} is no column of classes; there are {there}")
    counts, drawn = _counted(folder, column, each, seed)
    if by is None and column == FOLDER and not 2 <= len(counts) <= min(MOST_FOLDERS, counts.total() // 2):
        return None
    names = _below_shared(list(counts)) if column == FOLDER else {name: name for name in counts}
    ordered = sorted(counts, key=lambda name: (-counts[name], name))
    largest = [ClassRows(names[name], counts[name], drawn[name]) for name in ordered[:most]]
    return Classes(column, largest, max(0, len(ordered) - most))


def _counted(folder: Folder, column: str, each: int, seed: int) -> tuple[Counter[str], dict[str, list[str]]]:
    """Rows by class, and the ids of those with the least random keys."""
    random = np.random.default_rng(seed)
    counts: Counter[str] = Counter()
    drawn: dict[str, list[tuple[float, str]]] = {}
    for ids, names in _values(folder, column):
        for row, name, key in zip(ids, names, random.random(len(ids)).tolist(), strict=True):
            if name is None:
                continue
            counts[name] += 1
            held = drawn.setdefault(name, [])
            if len(held) < each or key < held[-1][0]:
                held.append((key, row))
                held.sort()
                del held[each:]
    return counts, {name: [row for _, row in held] for name, held in drawn.items()}


def _values(folder: Folder, column: str) -> Iterator[tuple[list[str], Sequence[str | None]]]:
    wanted = ["uri", "member"] if column == FOLDER else [column]
    for batch in explore.batches(folder, ["id", *wanted]):
        ids = cast("list[str]", batch["id"].to_pylist())
        if column == FOLDER:
            uris, members = (
                cast("list[str]", batch["uri"].to_pylist()),
                cast("list[str | None]", batch["member"].to_pylist()),
            )
            yield ids, [_folder_of(uri, member) for uri, member in zip(uris, members, strict=True)]
        else:
            yield ids, [_name_of(value) for value in cast("list[object]", batch[column].to_pylist())]


def _folder_of(uri: str, member: str | None) -> str | None:
    """The folder of an input, within its archive where it lies in one."""
    return (uri if member is None else member).rpartition("/")[0] or None


def _name_of(value: object) -> str | None:
    if isinstance(value, list):
        return _name_of(next(iter(cast("list[object]", value)), None))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return None if value is None else str(value)


def _below_shared(folders: Sequence[str]) -> dict[str, str]:
    """Each folder by its path below the one that all share; that one by its own name."""
    split = [folder.split("/") for folder in folders]
    shared = 0
    while split and all(len(parts) > shared and parts[shared] == split[0][shared] for parts in split):
        shared += 1
    return {folder: "/".join(parts[shared:]) or parts[-1] for folder, parts in zip(folders, split, strict=True)}
