"""Archives of phantoms for tests: files on disk, and the verdicts that an index of them must find."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa

from pixelmill.workers.ct.phantom_archive import DEFECTS, Expected, phantom_archive, strangers

Found = tuple[bool, bool, frozenset[str], frozenset[str]]
"""Usable in 2-D, in 3-D, and the kinds of the reasons why not."""


def write_archive(folder: Path, series: int, *, slices: int = 12, side_px: int = 16) -> tuple[Counter[Found], int]:
    """Write an archive with every defect in turn; returns the series that an index must find, and how many objects fail."""
    planted: Counter[Found] = Counter()
    failed = 0
    for defect, files in phantom_archive(series, slices=slices, side_px=side_px):
        for file in files:
            _write(folder / file.name, file.data)
        failed += defect.expected.failed
        if defect.expected.failed < slices:
            planted[_of(defect.expected)] += 1
    for file in strangers():
        _write(folder / file.name, file.data)
    return planted, failed


def found_series(table: pa.Table) -> Counter[Found]:
    """The verdicts of INDEX/series."""
    rows = table.select(["usable_2d", "usable_3d", "reasons_2d", "reasons_3d"]).to_pylist()
    return Counter((r["usable_2d"], r["usable_3d"], _kinds(r["reasons_2d"]), _kinds(r["reasons_3d"])) for r in rows)


def _kinds(reasons: list[str]) -> frozenset[str]:
    return frozenset(reason.partition(":")[0] for reason in reasons)


def _of(expected: Expected) -> Found:
    return expected.usable_2d, expected.usable_3d, expected.reasons_2d, expected.reasons_3d


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


EVERY_DEFECT = len(DEFECTS)
