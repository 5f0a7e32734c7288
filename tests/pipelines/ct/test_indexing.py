"""See test_series.py, which writes tables of series too."""

from __future__ import annotations

from pathlib import Path

from pixelmill.pipelines.ct.indexing import write_series
from pixelmill.pipelines.ct.series import SeriesCounts
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder


def test_an_index_of_nothing_has_no_series(tmp_path: Path) -> None:
    assert write_series(Folder(str(tmp_path), Access())) == SeriesCounts()
    assert not (tmp_path / "series").exists()
