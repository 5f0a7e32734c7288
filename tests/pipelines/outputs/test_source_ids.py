"""Runs over runs: every row says by its source_id which input of the first run it comes from, so that runs can be joined."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pixelmill.pipelines.inputs.entries import Ignored, Source
from pixelmill.pipelines.inputs.manifest_rows import input_id, table_of
from pixelmill.pipelines.inputs.relisting import as_now
from pixelmill.pipelines.inputs.sources import entries
from pixelmill.pipelines.outputs.segments import read_segments
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import Milled, Stage, StageConfig, StageContext
from tests import scans
from tests.in_process_run import Job, live
from tests.support import pictures

ACCESS = Access(retry_for_s=0.0)
PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


class CopyConfig(StageConfig):
    """A stage for tests: the picture again, as a column of pictures that the next run can read."""

    stage: ClassVar[str] = "copy"

    def columns(self) -> tuple[str, ...]:
        return ("image",)

    def build(self, context: StageContext) -> Stage:
        return Copy()


class Copy:
    settings: ClassVar[dict[str, object]] = {}
    batch_pixels: int | None = None
    name, batch, weights_sha256 = "copy", 2, None
    fields = (pa.field("image", PICTURE),)

    def prepare(self, picture: Picture) -> np.ndarray:
        return np.ascontiguousarray(picture.pixels.permute(1, 2, 0).numpy())

    def run(self, samples: Sequence[np.ndarray]) -> Milled:
        return Milled({"image": pa.array([{"bytes": png(each), "path": None} for each in samples], PICTURE)}, {})


def png(pixels_HWC: np.ndarray) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(pixels_HWC).save(sink, "PNG")
    return sink.getvalue()


def run(source: Source, out: Path, **options: object) -> pa.Table:
    """Make a run of its own, and give its rows."""
    folder = Folder(str(out), ACCESS)
    assert live(Job(source, folder, (CopyConfig(),), **options)).is_exact  # type: ignore[arg-type]
    return table_in(folder)


def table_in(folder: Folder) -> pa.Table:
    files = [pq.read_table(pa.BufferReader(folder.read(f"data/{name}") or b"")) for name in folder.names("data")]
    assert len({each.schema.remove_metadata() for each in files}) == 1
    return pa.concat_tables(files)


def of(run: Path) -> Source:
    return Source((str(run / "data"),), access=ACCESS)


@pytest.fixture
def photos(tmp_path: Path) -> Source:
    pictures(tmp_path / "photos", 20, size=(12, 9))
    return Source((str(tmp_path / "photos"),), access=ACCESS)


def test_a_run_over_a_run_over_a_run_joins_with_the_first_one(tmp_path: Path, photos: Source) -> None:
    first = run(photos, tmp_path / "1")
    second, third = run(of(tmp_path / "1"), tmp_path / "2"), run(of(tmp_path / "2"), tmp_path / "3")
    assert "source_id" not in first.schema.names
    assert second.schema.names == ["id", "uri", "member", "source_id", "width", "height", "image"] == third.schema.names
    pixels = {row["id"]: row["image"]["bytes"] for row in first.to_pylist()}
    assert len(pixels) == 20
    for later in (second, third):
        assert {row["source_id"]: row["image"]["bytes"] for row in later.to_pylist()} == pixels
    assert not set(first["id"].to_pylist()) & set(second["id"].to_pylist()) & set(third["id"].to_pylist())
    sizes = third.select(["source_id", "width"])
    joined = first.select(["id", "uri"]).join(sizes, "id", "source_id", "inner")
    assert joined.num_rows == 20


def test_the_pages_of_a_scan_carry_its_id_on(tmp_path: Path) -> None:
    for number, name in enumerate("abc"):
        scans.write_scan(tmp_path / "in", name, scans.pages_of(number, 3 + number))
    source = Source((str(tmp_path / "in"),), access=ACCESS, grouping=scans.ByColour())
    run(source, tmp_path / "1", decoder="tests.scans:ScanDecoder", file_bytes=64)
    later = run(of(tmp_path / "1"), tmp_path / "2", file_bytes=128)
    ids = {input_id(source.uris[0], name): 3 + number for number, name in enumerate("abc")}
    assert Counter(later["source_id"].to_pylist()) == ids
    assert "place" not in later.schema.names


def test_the_first_listing_decides_whether_rows_have_a_source_id(tmp_path: Path, photos: Source) -> None:
    run(photos, tmp_path / "1")
    run(replace(photos, limit=6), tmp_path / "out")
    both = Source((*photos.uris, str(tmp_path / "1" / "data")), access=ACCESS)
    out = Folder(str(tmp_path / "out"), ACCESS)
    assert live(Job(both, out, (CopyConfig(),)), 2).done == 40
    assert [segment.has_source_ids for segment in read_segments(out)] == [False, True]
    assert "source_id" not in table_in(out).schema.names
    other = Folder(str(tmp_path / "other"), ACCESS)
    assert live(Job(both, other, (CopyConfig(),))).is_exact
    assert [segment.has_source_ids for segment in read_segments(other)] == [True]
    assert Counter(each is None for each in table_in(other)["source_id"].to_pylist()) == {True: 20, False: 20}


def test_a_retry_keeps_the_source_ids_of_a_table_that_was_replaced(tmp_path: Path, photos: Source) -> None:
    run(photos, tmp_path / "1")
    found = list(entries(of(tmp_path / "1"), Ignored()))
    path = Path(found[0].uri)
    table = pq.read_table(path)
    pq.write_table(table.take(list(range(table.num_rows))[::-1]), path)
    rows = as_now(table_of([entry for entry in found if entry.uri == str(path)]), of(tmp_path / "1")).to_pylist()
    ids = table["id"].to_pylist()[::-1]
    assert [row["source_id"] for row in sorted(rows, key=lambda row: row["offset"])] == ids
