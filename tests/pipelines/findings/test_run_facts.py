"""Throughput, shares of classes, histograms of depth and extremes of a score, each of runs whose answer is known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pixelmill.pipelines.findings import run_facts
from pixelmill.pipelines.findings.run_facts import (
    histograms_of,
    ranked_ids,
    score_columns,
    shares_of,
    throughput_of,
)
from pixelmill.pipelines.outputs.columns import INPUT_FIELDS
from pixelmill.pipelines.outputs.encoding import Compression
from pixelmill.pipelines.outputs.publishing import publish
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.codecs.encode import encode_png16
from pixelmill.workers.stages.picture_column import picture_field, picture_value
from tests.pipelines.findings.explored import TEXTS


def add(folder: Folder, fields: Sequence[Any], rows: Sequence[Mapping[str, Any]], milled: Any = None) -> None:
    """A part with these columns, and with when and where it was made."""
    first = sum(len(name) for name in folder.names("data"))  # ids differ between parts
    listed = [{"id": f"id-{first}-{place:03d}", "uri": f"/p/{place}.jpg", **row} for place, row in enumerate(rows)]
    table = pa.Table.from_pylist(listed, pa.schema([*INPUT_FIELDS, *fields, *TEXTS]))
    publish(folder, f"part-{len(folder.names('data')):06d}", table, {"milled": milled} if milled else {}, Compression())


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path), Access())


def test_throughput_counts_every_input_in_the_time_that_its_part_took(folder: Folder) -> None:
    add(folder, [], [{}] * 30, {"started_s": 1000.0, "ended_s": 1030.0, "host": "a"})
    add(folder, [], [{}] * 60, {"started_s": 1030.0, "ended_s": 1060.0, "host": "b"})
    found = throughput_of(folder)
    assert found is not None
    assert (found.started_s, found.slot_s, found.hosts) == (1000.0, 1.0, 2)
    assert sum(found.per_s) * found.slot_s == pytest.approx(90)
    assert np.allclose(found.per_s, [1] * 30 + [2] * 30)


def test_a_part_whose_clock_stood_still_counts_too(folder: Folder) -> None:
    add(folder, [], [{}] * 5, {"started_s": 1000.0, "ended_s": 1000.0, "host": "a"})
    found = throughput_of(folder)
    assert found is not None
    assert sum(found.per_s) * found.slot_s == pytest.approx(5)


def test_parts_that_do_not_say_when_they_were_made_have_no_throughput(folder: Folder) -> None:
    assert throughput_of(folder) is None
    add(folder, [], [{}])
    assert throughput_of(folder) is None


def test_fractions_are_averaged_over_the_rows_that_have_them_and_named_by_the_schema(folder: Folder) -> None:
    field = pa.field("mask_fraction", pa.list_(pa.float32()), metadata={"classes": json.dumps(["sky", "road"])})
    add(folder, [field], [{"mask_fraction": [0.5, 0.5]}, {"mask_fraction": [0.0, 0.5, 0.5]}, {"mask_fraction": None}])
    (found,) = shares_of(folder)
    assert found.column == "mask_fraction"
    assert found.shares == [("road", 0.5), ("class 2", 0.25), ("sky", 0.25)]


def test_the_likeliest_names_are_counted_and_those_beyond_the_largest_only_by_number(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_facts, "SHOWN_CLASSES", 2)
    names = [["cat", "dog"], ["cat"], ["owl"], ["dog"], [], None]
    add(folder, [pa.field("class_name", pa.list_(pa.string()))], [{"class_name": each} for each in names])
    (found,) = shares_of(folder)
    assert (found.shares, found.others) == ([("cat", 0.5), ("dog", 0.25)], 1)


def test_a_histogram_has_the_unit_and_the_scale_of_its_map(folder: Folder) -> None:
    fields = [picture_field("depth_m"), pa.field("depth_m_scale", pa.float32())]
    values_HW = np.linspace(400, 800, 64 * 64).reshape(64, 64).astype(np.uint16)
    whole = {"depth_m": picture_value(encode_png16(values_HW)), "depth_m_scale": 0.25}
    add(folder, fields, [whole, {**whole, "depth_m": None}, {**whole, "depth_m_scale": None}])
    (found,) = histograms_of(folder)
    assert (found.column, found.unit, found.rows, len(found.shares)) == ("depth_m", "m", 1, run_facts.BINS)
    assert (found.low, found.high) == pytest.approx((100.5, 199.5), abs=0.6)
    assert sum(found.shares) == pytest.approx(1)


def test_a_picture_that_can_not_be_read_is_no_reason_to_have_no_histogram(folder: Folder) -> None:
    fields = [picture_field("depth_m"), pa.field("depth_m_scale", pa.float32())]
    flat = {"depth_m": picture_value(encode_png16(np.full((8, 8), 40, np.uint16))), "depth_m_scale": 0.5}
    add(folder, fields, [flat, {**flat, "depth_m": picture_value(b"broken")}])
    (found,) = histograms_of(folder)
    assert (found.rows, found.low, found.high) == (1, 20.0, 20.0)


def test_rows_are_ranked_by_any_number_but_their_size_and_scale() -> None:
    names = ("width", "place", "depth_scale", "brightness")
    schema = pa.schema([*((name, pa.float32()) for name in names), ("count", pa.int32()), ("id", pa.string())])
    assert score_columns(schema) == ["brightness"]


def test_the_extremes_come_first_and_rows_without_a_number_never(folder: Folder) -> None:
    scores = [3.0, None, float("nan"), -1.0, 7.0, float("inf")]
    add(folder, [pa.field("score", pa.float32())], [{"score": each} for each in scores])
    greatest, least = ranked_ids(folder, "score", 2)
    assert [score for _, score in greatest] == [7.0, 3.0]
    assert [score for _, score in least] == [-1.0, 3.0]
    assert greatest[0][0].endswith("004")
    assert ranked_ids(folder, "score", 0) == ([], [])
