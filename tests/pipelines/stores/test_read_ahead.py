"""A file of a store is read as any file is, in requests that take what is needed next and little else."""

from __future__ import annotations

import io
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pixelmill.pipelines.stores import read_ahead
from pixelmill.pipelines.stores.read_ahead import ReadAheadFile
from pixelmill.pipelines.stores.tables import cells_of, integers_of, open_parquet, read_rows, texts_of

CONTENT = np.random.default_rng(0).bytes(100_000)
ROWS, GROUPS, PICTURE_BYTES = 40, 4, 20_000


class Counting(io.BytesIO):
    """Counts requests, and the bytes that they fetch."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.fetched = list[int]()

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.fetched.append(len(data))
        return data


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_ahead, "AHEAD_BYTES", 30_000)
    monkeypatch.setattr(read_ahead, "NEAR_BYTES", 1000)


def test_whatever_is_asked_and_expected_the_bytes_are_those_of_the_file() -> None:
    drawn = random.Random(0)
    file, plain = ReadAheadFile(Counting(CONTENT)), io.BytesIO(CONTENT)
    for _ in range(3000):
        match drawn.randrange(6):
            case 0:
                offset, whence = drawn.choice([(drawn.randrange(len(CONTENT)), 0), (-drawn.randrange(1000), 2)])
                assert file.seek(offset, whence) == plain.seek(offset, whence)
            case 1:
                starts = [drawn.randrange(len(CONTENT)) for _ in range(drawn.randrange(4))]
                parts = [(start, min(len(CONTENT), start + drawn.randrange(1, 40_000))) for start in starts]
                file.expect(parts, reads_on=drawn.random() < 0.5)
            case 2:
                assert file.readline() == plain.readline()
            case 3:
                buffers = bytearray(500), bytearray(500)
                assert file.readinto(buffers[0]) == plain.readinto(buffers[1])
                assert buffers[0] == buffers[1]
            case _:
                size = drawn.choice([0, 1, drawn.randrange(100), drawn.randrange(50_000), -1])
                assert file.read(size) == plain.read(size)
        assert file.tell() == plain.tell()


def test_a_file_that_is_read_to_its_end_takes_one_request_for_many_reads() -> None:
    counting = Counting(CONTENT)
    file = ReadAheadFile(counting)
    assert b"".join(iter(lambda: file.read(100), b"")) == CONTENT
    assert counting.fetched == [30_000, 30_000, 30_000, 10_000]


def test_parts_that_are_expected_are_fetched_once_in_whatever_order_they_are_read_and_nothing_else_is() -> None:
    counting = Counting(CONTENT)
    file = ReadAheadFile(counting)
    parts = [(50_000, 51_000), (10_000, 12_000), (51_500, 52_000), (14_000, 14_300)]
    file.expect(parts, reads_on=False)
    assert counting.fetched == [2000, 300, 2000], "two that are near to each other come with one request"
    for start, stop in reversed(parts):
        file.seek(start)
        assert file.read(stop - start) == CONTENT[start:stop]
    assert counting.fetched == [2000, 300, 2000]


def test_parts_that_the_file_does_not_have_are_not_expected() -> None:
    counting = Counting(CONTENT)
    file = ReadAheadFile(counting)
    file.expect([(-5, 10), (90_000, 100_001), (500, 200), (1 << 62, 1 << 63), (300, 400)], reads_on=False)
    assert counting.fetched == [100]
    file.seek(99_000)
    assert file.read() == CONTENT[99_000:]


def test_no_more_is_fetched_at_once_than_is_read_ahead() -> None:
    counting = Counting(CONTENT)
    file = ReadAheadFile(counting)
    file.expect([(start, start + 10_000) for start in range(0, 100_000, 20_000)], reads_on=False)
    assert counting.fetched == [10_000] * 3
    file.seek(80_000)
    assert file.read(10_000) == CONTENT[80_000:90_000]
    assert counting.fetched == [10_000] * 4


def test_what_follows_is_fetched_with_what_is_expected_where_it_will_be_read() -> None:
    counting = Counting(CONTENT)
    file = ReadAheadFile(counting)
    for start in range(0, 50_000, 10_000):
        file.expect([(start, start + 500), (start + 500, start + 10_000)], reads_on=True)
        for place, size in ((start + 500, 9500), (start, 500)):
            file.seek(place)
            assert file.read(size) == CONTENT[place : place + size]
    assert counting.fetched == [30_000, 30_000]


def test_a_part_that_is_larger_than_is_fetched_ahead_is_read_piece_by_piece_and_not_beyond_its_end() -> None:
    counting = Counting(CONTENT)
    file = ReadAheadFile(counting)
    file.expect([(0, 100), (5000, 75_000)], reads_on=False)
    file.seek(5000)
    assert b"".join(file.read(1000) for _ in range(70)) == CONTENT[5000:75_000]
    assert counting.fetched == [100, 30_000, 30_000, 10_000]


def table_file() -> tuple[Counting, pa.Table]:
    """Four row groups of pictures, between two small columns."""
    random_bytes = np.random.default_rng(0).bytes
    table = pa.table(
        {
            "id": [f"{row:05d}" for row in range(ROWS)],
            "image": [random_bytes(PICTURE_BYTES) for _ in range(ROWS)],
            "label": list(range(ROWS)),
        }
    )
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=ROWS // GROUPS, compression="none", use_dictionary=False)
    return Counting(file.getvalue()), table


@pytest.mark.parametrize("ahead_bytes", [30_000, 1 << 20])
def test_a_small_column_is_read_without_the_pictures_beside_it(
    monkeypatch: pytest.MonkeyPatch, ahead_bytes: int
) -> None:
    monkeypatch.setattr(read_ahead, "AHEAD_BYTES", ahead_bytes)
    counting, table = table_file()
    file = ReadAheadFile(counting)
    assert list(texts_of(file, "id")) == table["id"].to_pylist()
    assert integers_of(open_parquet(file), "label").to_pylist() == table["label"].to_pylist()
    assert read_rows(open_parquet(file), ["id", "label"]).equals(table.select(["id", "label"]))
    assert sum(counting.fetched) < 2 * ROWS * PICTURE_BYTES / 10 + 3 * min(ahead_bytes, 30_000)
    assert len(counting.fetched) <= 6 * 3 + 4 * GROUPS


def test_a_row_group_is_fetched_in_one_request_and_the_next_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_ahead, "AHEAD_BYTES", 1 << 20)
    counting, table = table_file()
    parquet = open_parquet(ReadAheadFile(counting))
    counting.fetched.clear()
    cells = [cell() for cell in cells_of(parquet, 1, "image")]
    assert [bytes(cell or b"") for cell in cells] == table["image"].to_pylist()[10:20]  # type: ignore[arg-type]
    assert len(counting.fetched) == 1
    assert counting.fetched[0] < PICTURE_BYTES * ROWS / GROUPS + 1000


def test_a_table_read_whole_is_fetched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_ahead, "AHEAD_BYTES", 400_000)
    counting, table = table_file()
    parquet = open_parquet(ReadAheadFile(counting))
    counting.fetched.clear()
    assert read_rows(parquet).equals(table)
    assert sum(counting.fetched) < 1.1 * ROWS * PICTURE_BYTES
