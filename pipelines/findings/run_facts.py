"""What a report says of a run in numbers: throughput over time, shares of classes, a histogram of depth, the range of scores."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa

from pixelmill.pipelines import explore
from pixelmill.pipelines.arrow import fields_of
from pixelmill.pipelines.findings.chosen_rows import chosen_rows, picture_names, sampled_ids
from pixelmill.pipelines.outputs.columns import DATA
from pixelmill.pipelines.outputs.contents import facts_of, provenance_of
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.codecs.stored import values_of
from pixelmill.workers.errors import RowError

SLOTS = 60
BINS = 40
DEPTH_ROWS = 100
SHOWN_CLASSES = 40
SCORES = frozenset({"width", "height", "place"})
"""Numbers of every row that are no scores."""


@dataclass(frozen=True)
class Throughput:
    """Inputs per second in equal slots of time, from the first part to the last one."""

    started_s: float
    slot_s: float
    per_s: list[float]
    hosts: int


@dataclass(frozen=True)
class Shares:
    """The mean share of each class, largest first; `others` counts the classes that are not shown."""

    column: str
    shares: list[tuple[str, float]]
    others: int


@dataclass(frozen=True)
class Histogram:
    """Shares of values in equal bins between two values, in a unit."""

    column: str
    unit: str
    low: float
    high: float
    shares: list[float]
    rows: int


def throughput_of(folder: Folder) -> Throughput | None:
    """From the metadata of the parts; None where these do not say when they were made."""
    spans: list[tuple[float, float, int]] = []
    hosts: set[str] = set()
    for name in folder.names(DATA):
        milled = provenance_of(folder, name).get("milled")
        if milled:
            spans.append((milled["started_s"], milled["ended_s"], facts_of(folder, name.removesuffix(".parquet")).done))
            hosts.add(milled["host"])
    if not spans:
        return None
    first, last = min(start for start, _, _ in spans), max(end for _, end, _ in spans)
    slot_s = max((last - first) / SLOTS, 1e-3)
    edges = first + slot_s * np.arange(SLOTS + 1)
    counts = np.zeros(SLOTS)
    for start, end, done in spans:
        inside = np.clip(np.minimum(edges[1:], max(end, start + 1e-3)) - np.maximum(edges[:-1], start), 0, None)
        counts += done * inside / max(end - start, 1e-3)
    return Throughput(first, slot_s, [float(count / slot_s) for count in counts], len(hosts))


def shares_of(folder: Folder) -> list[Shares]:
    """Of each column that segmentation or classification made. 50,000 classes are counted, and SHOWN_CLASSES shown."""
    found: list[Shares] = []
    for field in fields_of(_full_schema(folder)):
        stated = (field.metadata or {}).get(b"classes")
        if field.name.endswith("_fraction") and pa.types.is_list(field.type):
            found.append(_mean_fractions(folder, field.name, json.loads(stated or b"[]")))
        elif field.name.endswith("_name") and field.type == pa.list_(pa.string()):
            found.append(_likeliest(folder, field.name))
    return found


def _full_schema(folder: Folder) -> pa.Schema:
    return explore.schema_of(folder)


def _mean_fractions(folder: Folder, column: str, names: Sequence[str]) -> Shares:
    sums, rows = np.zeros(len(names)), 0
    for batch in explore.batches(folder, [column]):
        for fractions in cast("list[list[float] | None]", batch.column(0).to_pylist()):
            if fractions:
                sums = np.pad(sums, (0, max(0, len(fractions) - len(sums))))
                sums[: len(fractions)] += fractions
                rows += 1
    named = [names[place] if place < len(names) else f"class {place}" for place in range(len(sums))]
    return _largest(column, dict(zip(named, (sums / max(rows, 1)).tolist(), strict=True)))


def _likeliest(folder: Folder, column: str) -> Shares:
    counts: Counter[str] = Counter()
    for batch in explore.batches(folder, [column]):
        counts.update(names[0] for names in cast("list[list[str] | None]", batch.column(0).to_pylist()) if names)
    rows = max(1, counts.total())
    return _largest(column, {name: count / rows for name, count in counts.items()})


def _largest(column: str, shares: dict[str, float]) -> Shares:
    ordered = sorted(shares.items(), key=lambda each: (-each[1], each[0]))
    return Shares(column, ordered[:SHOWN_CLASSES], max(0, len(ordered) - SHOWN_CLASSES))


def histograms_of(folder: Folder, seed: int = 0) -> list[Histogram]:
    """Of the values of each column of 16-bit maps with a scale, such as depth, over DEPTH_ROWS rows drawn at random."""
    schema = _full_schema(folder)
    units = explore.column_units(folder)
    found: list[Histogram] = []
    for column in picture_names(schema):
        if f"{column}_scale" in schema.names:
            values = _values_of(folder, column, sampled_ids(folder, DEPTH_ROWS, seed))
            if values:
                found.append(_histogram(column, units.get(column) or column.rpartition("_")[2], values))
    return found


def _values_of(folder: Folder, column: str, ids: Sequence[str]) -> list[np.ndarray]:
    """A few thousand values of each row, times its scale."""
    found: list[np.ndarray] = []
    for row in chosen_rows(folder, ids, [column]):
        data, scale = row.pictures[column], row.values.get(f"{column}_scale")
        if data is None or not isinstance(scale, float):
            continue
        try:
            values = values_of(data).ravel()
        except RowError:
            continue
        found.append(values[:: max(1, len(values) // 4096)].astype(np.float64) * scale)
    return found


def _histogram(column: str, unit: str, values: list[np.ndarray]) -> Histogram:
    """Between the percentiles 0.5 and 99.5, so that a single value does not flatten it."""
    every = np.concatenate(values)
    low, high = (float(each) for each in np.percentile(every, (0.5, 99.5)))
    counts, _ = np.histogram(np.clip(every, low, high), BINS, (low, max(high, low + 1e-9)))
    return Histogram(column, unit, low, high, (counts / counts.sum()).tolist(), len(values))


def score_columns(schema: pa.Schema) -> list[str]:
    """Columns of one number a row by which rows can be ranked."""
    return [
        field.name
        for field in fields_of(schema)
        if pa.types.is_floating(field.type) and field.name not in SCORES and not field.name.endswith("_scale")
    ]


def ranked_ids(folder: Folder, column: str, count: int) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """Ids and scores of the rows with the greatest and with the least value, each at most `count`, extremes first."""
    ids: list[str] = []
    parts: list[np.ndarray] = []
    for batch in explore.batches(folder, ["id", column]):
        ids += cast("list[str]", batch["id"].to_pylist())
        parts.append(cast("Any", batch[column]).to_numpy(zero_copy_only=False).astype(np.float64))
    scores_N = np.concatenate(parts) if parts else np.zeros(0)
    there = np.flatnonzero(np.isfinite(scores_N))
    order = there[np.argsort(scores_N[there], kind="stable")]
    rising = [(ids[int(row)], float(scores_N[row])) for row in order]
    return rising[::-1][:count], rising[:count]
