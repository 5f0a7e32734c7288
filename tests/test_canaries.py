"""The search for canaries finds one wherever it is planted; otherwise its silence would say nothing."""

from __future__ import annotations

import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.canaries import kept, leaks

SECRET = "MUELLER^ANNA"


def test_a_canary_is_found_in_names_bytes_values_and_metadata(tmp_path: Path) -> None:
    (tmp_path / "clean.txt").write_text("nothing")
    (tmp_path / f"{SECRET}.txt").write_text("a name")
    (tmp_path / "log.txt").write_text(f"failed: {SECRET}")
    table = pa.table({"a": [SECRET] * 50})
    pq.write_table(table, tmp_path / "values.parquet", compression="zstd")
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata({"m": SECRET}), tmp_path / "meta.parquet")
    assert leaks(tmp_path, SECRET, "absent") == [
        f"MUELLER^ANNA.txt: {SECRET}", f"log.txt: {SECRET}", f"meta.parquet: {SECRET}", f"values.parquet: {SECRET}"
    ]  # fmt: skip


def test_what_is_removed_in_the_meantime_was_kept(tmp_path: Path) -> None:
    (tmp_path / "t/session").mkdir(parents=True)
    with kept(tmp_path / "t", tmp_path / "copy"):
        (tmp_path / "t/session/worker.out").write_text(SECRET)
        threading.Event().wait(2)
        (tmp_path / "t/session/worker.out").unlink()
    assert leaks(tmp_path / "copy", SECRET) == [f"session/worker.out: {SECRET}"]
