"""Broken samples are recorded once each, in the columns of a run, and only so many are borne."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pixelmill.pipelines.outputs.columns import FAILED_SCHEMA
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training.broken_samples import FILE, LEFT_OUT, BrokenSamples, FailedFile
from pixelmill.workers.errors import DataError, RowError
from tests.pipelines.training.drawn import ACCESS
from tests.pipelines.training.sources import some
from tests.pipelines.training.trainings import Silent

ERROR = RowError("decode", "BadSample", "is no picture")


class Board(Silent):
    """Keeps reports, as Ray would."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def report(self, key: str, text: str) -> None:
        self.kept[key] = text

    def reports(self, kind: str) -> list[str]:
        return [text for key, text in self.kept.items() if key.startswith(f"{kind}:")]


def names(out: Folder) -> list[str]:
    data = out.read(FILE)
    assert data is not None
    table = pq.read_table(io.BytesIO(data))
    assert table.schema.equals(FAILED_SCHEMA)
    return [Path(row["uri"]).name for row in table.to_pylist()]


def test_every_worker_and_attempt_adds_its_own_once(tmp_path: Path) -> None:
    data, out, board = some(tmp_path / "in", 200), Folder(str(tmp_path / "out"), ACCESS), Board()
    mine, other = BrokenSamples(data), BrokenSamples(data)
    mine.add(9, ERROR)
    other.add(9, ERROR)
    other.add(3, ERROR)
    FailedFile(out, board, 1, 2).record(other)
    assert FailedFile(out, board, 0, 2).record(mine) == 2
    assert names(out) == ["003.png", "009.png"]
    again = BrokenSamples(data)
    again.add(11, ERROR)
    again.add(9, ERROR)
    assert FailedFile(out, Board(), 0, 1).record(again) == 3
    assert names(out) == ["003.png", "009.png", "011.png"]


def test_the_limit_holds_for_all_workers_together(tmp_path: Path) -> None:
    """Each of two workers streams its half of the data: neither meets too many."""
    data, judged_data = some(tmp_path / "in", 200), some(tmp_path / "judged", 20)
    out, board = Folder(str(tmp_path / "out"), ACCESS), Board()
    mine, other, judged = BrokenSamples(data, 0.02), BrokenSamples(data, 0.02), BrokenSamples(judged_data)
    first, second = FailedFile(out, board, 0, 2), FailedFile(out, board, 1, 2)
    for index in (0, 2, 4):
        mine.add(index, ERROR)
    for index in (0, 1):  # one of them was met by both
        other.add(index, ERROR)
    judged.add(7, ERROR)
    other.add(199, RowError("recipe", LEFT_OUT, "is a slice of air"))
    second.record(other, judged)
    assert first.record(mine) == 6
    other.add(3, ERROR)
    second.record(other, judged)
    with pytest.raises(DataError, match=r"5 of 200 samples are broken, more than run\.max_failed_fraction = 0\.02"):
        first.record(mine)
    assert len(names(out)) == 7


def test_without_broken_samples_there_is_no_file(tmp_path: Path) -> None:
    out = Folder(str(tmp_path / "out"), ACCESS)
    assert FailedFile(out, Board(), 0, 1).record(BrokenSamples(some(tmp_path / "in", 2))) == 0
    assert out.read(FILE) is None


def test_the_message_counts_the_reasons_with_an_example_each_and_says_what_to_do(tmp_path: Path) -> None:
    broken = BrokenSamples(some(tmp_path, 200), 0.01)
    broken.add(0, RowError("fetch", "NotFound", "a.png: gone"))
    broken.add(1, ERROR)
    with pytest.raises(DataError) as raised:
        broken.add(2, ERROR)
    assert str(raised.value) == (
        "3 of 200 samples are broken, more than run.max_failed_fraction = 0.01:\n  2 decode/BadSample, as is no picture\n"
        "  1 fetch/NotFound, as a.png: gone\ncorrect the cause and run the same command again, or raise the fraction"
    )


def test_a_few_of_a_small_data_set_are_borne_and_never_all_of_it(tmp_path: Path) -> None:
    broken = BrokenSamples(some(tmp_path, 3))
    broken.add(0, ERROR)
    broken.add(1, ERROR)
    with pytest.raises(DataError, match="all 3 samples are broken"):
        broken.add(2, ERROR)
