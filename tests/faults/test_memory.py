"""The memory of a worker depends on the sizes of pictures and not on their number."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peak_memory import peak_bytes, write_photos

pytestmark = [pytest.mark.faults, pytest.mark.slow]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("threads", [0, 2])
def test_ten_times_as_many_pictures_take_at_most_a_quarter_more_memory(tmp_path: Path, threads: int) -> None:
    peaks: list[int] = []
    for count in (500, 5000):
        write_photos(tmp_path / f"in-{count}", count)
        peaks.append(peak_bytes(tmp_path / f"in-{count}", tmp_path / f"out-{count}", threads))
    assert peaks[1] <= 1.25 * peaks[0]
