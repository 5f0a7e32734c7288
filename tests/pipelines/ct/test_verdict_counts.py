"""Series are counted by what they are usable for, and by the kinds of all reasons why not."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pixelmill.pipelines.ct.verdict_counts import verdict_counts
from pixelmill.pipelines.inputs.ct_series import SERIES
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder


def test_verdicts_are_counted_over_all_files_by_kind_and_not_by_sentence(tmp_path: Path) -> None:
    (tmp_path / SERIES).mkdir(parents=True)
    rows = [
        {"usable_2d": True, "usable_3d": True, "reasons_2d": [], "reasons_3d": []},
        {"usable_2d": True, "usable_3d": False, "reasons_2d": [], "reasons_3d": ["gap: 3 slices", "tilt: 2 degrees"]},
        {"usable_2d": True, "usable_3d": False, "reasons_2d": [], "reasons_3d": ["tilt: 9 degrees", "gap: 1 slice"]},
        {"usable_2d": False, "usable_3d": False, "reasons_2d": ["bits: 1"], "reasons_3d": ["bits: 1"]},
    ]
    for number, part in enumerate((rows[:2], rows[2:])):
        pq.write_table(pa.Table.from_pylist(part), tmp_path / SERIES / f"part-{number}.parquet")
    assert verdict_counts(Folder(str(tmp_path), Access())) == {
        (True, True, frozenset()): 1,
        (True, False, frozenset({"gap", "tilt"})): 2,
        (False, False, frozenset({"bits"})): 1,
    }


def test_an_index_without_series_has_no_verdicts(tmp_path: Path) -> None:
    assert not verdict_counts(Folder(str(tmp_path), Access()))
