"""Nearest slices by code: over the codes that a run of `embed` made of the rows of `ct ingest`.

All codes of an autoencoder share most of their direction: cosines of the codes as they are lie within hundredths of 1 and say
little, so they are taken about the mean of all codes.

Rows are joined by the file and the row that they came from; `source_id`, the id of the series, shows that both belong together.

Legend: N rows, Q queries, D dimension of a code.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from pixelmill.pipelines import explore
from pixelmill.pipelines.ct.slice_rows import SeriesOfRows, SliceRow
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError
from pixelmill.workers.wording import counted

_ROW = "row "


class NearSlice(NamedTuple):
    """The cosine of two codes about the mean of all, and where the slice stands."""

    cosine: float
    part: str
    row: int


def nearest_slices(
    codes: Folder, queries: Sequence[tuple[SeriesOfRows, SliceRow]], count: int
) -> list[list[NearSlice]]:
    """For each query the slices of other series with the greatest cosine, nearest first. Two passes over the codes, in
    batches. JobError where the codes are not of these slices."""
    column = _column(codes)
    places = {(each.part, each.row): (number, series.input_id) for number, (series, each) in enumerate(queries)}
    found = dict[int, np.ndarray]()
    sum_D, coded = np.zeros(1), 0
    for names, owners, codes_ND in _coded(codes, column):
        sum_D, coded = sum_D + codes_ND.sum(0, dtype=np.float64), coded + len(codes_ND)
        for row, name in enumerate(names):
            if name in places:
                number, owner = places[name]
                if owner != owners[row]:
                    raise JobError(f"{codes.uri}: the codes are of other slices; embed this folder again")
                found[number] = codes_ND[row]
    if len(found) < len(queries):
        raise JobError(
            f"{codes.uri}: holds no codes of {counted(len(queries) - len(found), 'slice')} shown here; embed what is missing"
        )
    mean_D = (sum_D / max(coded, 1)).astype(np.float32)
    queries_QD = _directions(np.stack([found[number] for number in range(len(queries))]) - mean_D)
    best: list[list[NearSlice]] = [[] for _ in queries]
    for names, owners, codes_ND in _coded(codes, column):
        cosines_QN = queries_QD @ _directions(codes_ND - mean_D).T
        for number, (series, _) in enumerate(queries):
            others = np.array([owner != series.input_id for owner in owners])
            cosines_N = np.where(others, cosines_QN[number], -np.inf)
            rows = [row for row in np.argsort(-cosines_N)[:count].tolist() if others[row]]
            near = [NearSlice(float(cosines_N[row]), *names[row]) for row in rows]
            best[number] = heapq.nlargest(count, [*best[number], *near])
    return best


def _column(codes: Folder) -> str:
    columns, schema = explore.vector_columns(codes), explore.schema_of(codes).names
    if len(columns) != 1 or "source_id" not in schema or "block" in schema:
        raise JobError(
            f"{codes.uri}: holds no codes of slices: one column of vectors and source_id are needed, and it has "
            f"{', '.join(schema) or 'no rows'}; name what `pixelmill embed` made of the slices"
        )
    return columns[0]


def _coded(codes: Folder, column: str) -> Iterator[tuple[list[tuple[str, int]], list[str], np.ndarray]]:
    """File and row of each code, the id of its series, and the codes."""
    for batch in explore.batches(codes, ["uri", "member", "source_id", column]):
        kept = cast("Any", batch).drop_null()
        names = [_place(codes, row) for row in kept.select(["uri", "member"]).to_pylist()]
        vectors_ND = kept.column(column).flatten().to_numpy(zero_copy_only=False).astype(np.float32)
        vectors_ND = vectors_ND.reshape(len(names), -1) if names else np.zeros((0, 1), np.float32)
        if names:
            yield names, kept.column("source_id").to_pylist(), vectors_ND


def _directions(codes_ND: np.ndarray) -> np.ndarray:
    """The codes with length 1."""
    return codes_ND / np.maximum(np.linalg.norm(codes_ND, axis=1, keepdims=True), explore.TINY)


def _place(codes: Folder, row: dict[str, str]) -> tuple[str, int]:
    number = row["member"].removeprefix(_ROW)
    if not row["member"].startswith(_ROW) or not number.isdecimal():
        raise JobError(
            f"{codes.uri}: {row['member']} is no row of a table; name what `pixelmill embed` made of the slices"
        )
    return row["uri"].rpartition("/")[2], int(number)
