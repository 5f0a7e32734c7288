"""What `inspect` reads, and that nothing of Arrow's outlives the reading."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pixelmill.jobs import inspect
from pixelmill.pipelines import explore
from pixelmill.pipelines.events import Ended, Event, PhaseBegan, RowsCounted, Started, Status, Warned
from pixelmill.pipelines.inputs import sources
from pixelmill.pipelines.inputs.manifest_rows import SCHEMA, input_id
from pixelmill.pipelines.inputs.sources import Source
from pixelmill.pipelines.outputs import claims
from pixelmill.pipelines.outputs.accounting import account
from pixelmill.pipelines.outputs.columns import ERROR_COLUMNS, INPUT_FIELDS
from pixelmill.pipelines.outputs.encoding import Compression
from pixelmill.pipelines.outputs.listing import Listing
from pixelmill.pipelines.outputs.publishing import publish
from pixelmill.pipelines.outputs.rows import read_files
from pixelmill.pipelines.outputs.segments import read_segments
from pixelmill.pipelines.outputs.self_report import STATUS, SelfReport
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training.layouts.registry import find, layout_of
from tests.pipelines.outputs.by_hand import NoTime

ROWS = 12
VECTOR = pa.list_(pa.float32(), 4)


class Watched(io.BytesIO):
    """A file that writes down which of its callers are threads that Python did not start."""

    strangers: set[str]

    def _note(self) -> None:
        if isinstance(threading.current_thread(), threading._DummyThread):
            self.strangers.add(threading.current_thread().name)

    def read(self, size: int | None = -1, /) -> bytes:
        self._note()
        return super().read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._note()
        return super().seek(offset, whence)


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    """A finished run of one part of twelve inputs, of which one failed."""
    folder = Folder(str(tmp_path / "out"), Access())
    names = [f"/p/{number}.jpg" for number in range(ROWS)]
    listing = Listing(folder, 0)
    listing.write([pa.Table.from_pylist([{"id": input_id(name, None), "uri": name} for name in names], SCHEMA)])
    listing.commit([ROWS], 0)
    text = [pa.field(name, pa.string()) for name in ERROR_COLUMNS]
    schema = pa.schema([*INPUT_FIELDS, pa.field("embedding", VECTOR), *text])
    rows = [{"id": input_id(name, None), "uri": name, "embedding": [1.0, 2.0, 3.0, 4.0]} for name in names]
    rows[0] |= {"stage": "decode", "error_type": "Corrupt", "error": "broken"}
    publish(folder, "part-000000", pa.Table.from_pylist(rows, schema), {}, Compression(row_group_bytes=1))
    return folder


def everything(out: Folder, tmp_path: Path) -> dict[str, Callable[[], object]]:
    """All that reads Parquet in the process that the command started."""
    table = tmp_path / "table.parquet"
    columns = {"label": list(range(ROWS)), "uri": [f"/p/{number}" for number in range(ROWS)]}
    pq.write_table(pa.table(columns | {"image": [b""] * ROWS}), table, row_group_size=4)
    return {
        "inspect": lambda: inspect.report(out, rows=3),
        "account": lambda: account(out, read_segments(out)),
        "vectors": lambda: explore.read_vectors(out),
        "manifest": lambda: list(read_files(out, read_segments(out)[0])),
        "list": lambda: list(sources.entries(Source((str(table),), format="list"), sources.Ignored())),
        "labels": lambda: find(layout_of("pictures").ROLES, [str(table)], Access()).labels,
    }


@pytest.mark.parametrize("reading", ["inspect", "account", "vectors", "manifest", "list", "labels"])
def test_no_thread_of_arrow_touches_a_python_file(
    out: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reading: str
) -> None:
    """A thread of Arrow's pool that lets go of a Python file while the interpreter ends aborts the process."""
    strangers: set[str] = set()
    monkeypatch.setattr(Watched, "strangers", strangers, raising=False)

    def watched(path: str, *_: object, **__: object) -> Any:
        return Watched(Path(path).read_bytes())

    read = everything(out, tmp_path)[reading]
    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.open", lambda _, path, *a, **k: watched(path))
    monkeypatch.setattr(io, "BytesIO", Watched)
    assert read() is not None
    assert strangers == set()


def test_the_watched_file_sees_a_thread_of_arrow() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": np.arange(100_000)}), sink, row_group_size=10_000)
    file = Watched(sink.getvalue())
    file.strangers = set()
    pq.ParquetFile(file, pre_buffer=True).read(use_threads=True)
    assert file.strangers


def test_where_an_attempt_is_or_was_killed_is_reported_until_it_has_ended(
    out: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    milling = [
        Started(attempt=2, at_s=9.0),
        PhaseBegan(attempt=2, phase="milling"),
        RowsCounted(attempt=2, total=9, done=4),
    ]
    status = Status().fold_all(milling)
    out.publish(STATUS, status.model_dump_json().encode())
    inspect.print_report(inspect.report(out, rows=0))
    said = "attempt 2 has not ended, or was killed; at 1970-01-01T00:00:09+00:00: milling: 4 / 9, 0 failed"
    assert said in capsys.readouterr().out
    out.publish(STATUS, status.fold(Ended(attempt=2, ended="complete")).model_dump_json().encode())
    inspect.print_report(inspect.report(out, rows=0))
    assert "has not ended" not in capsys.readouterr().out


def test_the_warnings_and_the_end_of_the_log_of_an_attempt_that_was_killed_are_shown(
    out: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    claim = claims.take(out, {}, is_gone=lambda _: True, clock=NoTime())
    report = SelfReport(out, claim)
    events: list[Event] = [Started(attempt=1), Warned(attempt=1, text="the store is slow")]
    for number in range(2):
        report.add(events if number else [], "".join(f"line {number}{each}\n" for each in range(4)))
        report.publish_texts()
    report.publish_status(Status().fold_all(events))
    found = inspect.report(out, rows=0)
    assert found["unended"] == {
        "warnings": ["the store is slow"],
        "log": ["line 03", *(f"line 1{n}" for n in range(4))],
    }
    inspect.print_report(found)
    said = capsys.readouterr().out
    assert "warning: the store is slow" in said
    assert "line 13" in said
    report.publish_status(Status().fold_all([*events, Ended(attempt=1, ended="complete")]))
    assert inspect.report(out, rows=0)["unended"] is None


@pytest.mark.parametrize(("rows", "shown"), [(0, 0), (3, 3), (ROWS - 1, ROWS - 1), (100, ROWS - 1)])
def test_as_many_rows_are_shown_as_were_asked_for(out: Folder, rows: int, shown: int) -> None:
    found = inspect.report(out, rows=rows)["rows"]
    assert [row["uri"] for row in found] == [f"/p/{number}.jpg" for number in range(1, shown + 1)]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"bytes": b"\x89PNG\r\n\x1a\n" + bytes(92), "path": None}, "PNG, 100 bytes"),
        ({"bytes": b"unknown", "path": None}, "7 bytes"),
        ({"size": [2, 3], "counts": "ab"}, {"size": [2, 3], "counts": "ab"}),
        ([1.0, 2.0, 3.0, 4.0, 5.0], "[1, 2, 3, 4, ...] (5)"),
        (["cat", "dog", "cow", "hen", "ass"], ["cat", "dog", "cow", "hen", "ass"]),
        ([{"class_id": 1, "counts": b"abc"}], [{"class_id": 1, "counts": "3 bytes"}]),
    ],
)
def test_a_value_is_shown_short_and_never_as_raw_bytes(value: object, shown: object) -> None:
    assert inspect.shortened(value) == shown
