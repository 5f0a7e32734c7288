"""The vectors of a run with the keys of their rows, read part by part; vectors of two models are never compared.

Legend: N rows, D numbers in a vector.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pixelmill.pipelines import explore
from pixelmill.pipelines.arrow import type_of
from pixelmill.pipelines.findings.vector_set import LocalVectors, VectorSet
from pixelmill.pipelines.outputs.attempt import IDENTITY
from pixelmill.pipelines.outputs.columns import DATA, PLACE
from pixelmill.pipelines.outputs.contents import provenance_of
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError
from pixelmill.workers.similarity.units import units_of

HALF_FROM_BYTES = 512 << 20
"""Vectors that take more than this as float32 are held as float16, which changes a cosine by about 0.0001."""
NOT_OF_THE_SPACE = frozenset({"column", "output", "precision", "model", "weights_sha256", "name", "from"})
"""Options of a stage that do not decide what a vector can be compared with; the model does so by its weights."""


@dataclass(frozen=True)
class KeyedVectors:
    """Every finished row that has a vector, and the vectors wherever they lie."""

    keys: pa.Table
    """id, uri, and place where an input makes many rows."""
    vectors: VectorSet
    column: str
    space: Mapping[str, object]


@dataclass(frozen=True)
class RowVectors:
    """Every finished row that has a vector, and the vectors as units: float32, or float16 where they are many."""

    keys: pa.Table
    """id, uri, and place where an input makes many rows."""
    units_ND: np.ndarray
    column: str
    space: Mapping[str, object]

    def __len__(self) -> int:
        return len(self.units_ND)

    @property
    def vectors(self) -> VectorSet:
        return LocalVectors(self.units_ND)


def key_columns(schema: pa.Schema) -> list[str]:
    """The columns by which results are joined with the rows of a run, and the uri for a person."""
    return ["id", "uri", *([PLACE.name] if PLACE.name in schema.names else [])]


def vector_column(folder: Folder, column: str | None) -> str:
    """The column of vectors to use. Raises JobError where the run has none, or several and none is named."""
    there = explore.vector_columns(folder)
    if column in there or (column is None and len(there) == 1):
        return column or there[0]
    require_rows(folder)
    if not there:
        raise JobError(
            f"{folder.uri}: holds no vectors, only {', '.join(explore.schema_of(folder).names)}; run the stage embed or encode "
            "over its source, and give that run"
        )
    wanted = "several columns hold vectors; give --column" if column is None else f"{column} is no column of vectors"
    raise JobError(f"{folder.uri}: {wanted}; there are {', '.join(there)}")


def require_rows(folder: Folder) -> None:
    """Raises JobError for a run without a finished row."""
    if not any(batch.num_rows for batch in explore.batches(folder, ["id"])):
        raise JobError(
            f"{folder.uri}: holds no finished row; `pixelmill inspect {quote(folder.uri)}` says what failed and what is missing"
        )


def read_vectors(folder: Folder, column: str | None = None) -> RowVectors:
    """All vectors of a run, in memory. Raises JobError where there are none, or some were made by other weights."""
    name = vector_column(folder, column)
    space = space_of(folder, name)
    keys = key_columns(explore.schema_of(folder))
    rows, dimension = size_of(folder, name)
    units_ND = np.empty((rows, dimension), kind_of(rows, dimension))
    held: list[pa.RecordBatch] = []
    filled = 0
    for batch, units_BD in batches_of_units(folder, name, keys):
        units_ND[filled : filled + len(units_BD)] = units_BD
        filled += len(units_BD)
        held.append(batch)
    if not filled:
        raise JobError(f"{folder.uri}: no finished row has a vector in {name}")
    return RowVectors(pa.Table.from_batches(held), units_ND[:filled], name, space)


def batches_of_units(
    folder: Folder, column: str, keys: Sequence[str], parts: Sequence[str] | None = None
) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
    """Keys and vectors BD of length 1, batch by batch, of these parts or of all; rows without a vector are left out."""
    for batch in explore.batches(folder, [*keys, column], parts):
        there = batch.filter(cast("Any", pc).is_valid(batch[column]))
        values = cast("Any", there[column])
        flat = values.flatten().to_numpy(zero_copy_only=False)
        yield there.select(list(keys)), units_of(flat.reshape(there.num_rows, -1))


def kind_of(rows: int, dimension: int) -> type[np.floating[Any]]:
    """The numbers in which so many vectors are held."""
    return np.float16 if rows * dimension * 4 > HALF_FROM_BYTES else np.float32


def size_of(folder: Folder, column: str) -> tuple[int, int]:
    """The number of finished rows, by the footers, and the numbers in a vector."""
    kind = cast("Any", type_of(explore.schema_of(folder), column))
    return explore.count_rows(folder), int(kind.list_size)


def space_of(folder: Folder, column: str) -> dict[str, object]:
    """What decides whether vectors of a column can be compared: the options and the weights of the stage that made it.

    Raises JobError where parts of the run were made by other weights.
    """
    place, kind, options = _maker_of(folder, column)
    found: dict[str, object] = {key: value for key, value in options.items() if key not in NOT_OF_THE_SPACE}
    weights = _weights_of(folder, place) or options.get("weights_sha256")
    named = {} if weights else {"model": options.get("model")}
    return {"stage": kind, "weights": weights, **named, **found}


def _maker_of(folder: Folder, column: str) -> tuple[int, str, Mapping[str, object]]:
    """Position, kind and options of the stage that made a column; -1 where the run does not say."""
    identity = json.loads(folder.read(IDENTITY) or b"{}")
    for place, stage in enumerate(identity.get("stages", [])):
        for kind, options in stage.items():
            if options.get("column") == column:
                return place, kind, options
    return -1, "", {}


def _weights_of(folder: Folder, place: int) -> str | None:
    """The digest of the weights of a stage, of which every part must have the same."""
    seen: dict[str | None, str] = {}
    for name in folder.names(DATA):
        by_stage = provenance_of(folder, name).get("weights") or {}
        digests = [digest for stage, digest in by_stage.items() if place < 0 or stage.startswith(f"{place}.")]
        seen.setdefault(" ".join(each for each in digests if each) or None, name)
    if len(seen) > 1:
        raise JobError(
            f"{folder.uri}: holds vectors of two models, in {' and '.join(list(seen.values())[:2])}; vectors of different models "
            "can't be compared: make each run with one"
        )
    return next(iter(seen), None)


def require_one_space(first: tuple[str, Mapping[str, object]], second: tuple[str, Mapping[str, object]]) -> None:
    """Raises JobError, naming the difference, unless the vectors of two runs can be compared. Each is (uri, space)."""
    (uri, space), (other_uri, other) = first, second
    for key in sorted({*space, *other}):
        if space.get(key) != other.get(key):
            raise JobError(
                f"{uri} and {other_uri} hold vectors of two models, which can't be compared: {key} is {space.get(key)!r} in the "
                f"first and {other.get(key)!r} in the second; embed both with one model"
            )
