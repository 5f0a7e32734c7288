"""Pictures from any source, and the labels of tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.layouts.registry import find, layout_of
from pixelmill.workers.errors import DataError, PixelmillError


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0, 1, None], "row 2 of column label is null"),
        ([0, -1, 1], "row 1 of column label is -1"),
        (["cat", "dog", "cat"], "column label holds string, not integers"),
    ],
)
def test_labels_of_a_table_that_are_no_classes_are_reported_by_row_where_they_are_needed(
    tmp_path: Path, labels: list[Any], said: str
) -> None:
    table = str(tmp_path / "table.parquet")
    pq.write_table(pa.table({"image": [b"x"] * 3, "label": labels}), table)
    with pytest.raises(DataError, match=rf"table\.parquet: {said}.*; write each row's class as an integer from 0 on"):
        find(layout_of("classes").ROLES, [table], Access())
    assert find(layout_of("pictures").ROLES, [table], Access()).labels is None


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PixelmillError):
        find(layout_of("pictures").ROLES, [str(tmp_path)], Access())
