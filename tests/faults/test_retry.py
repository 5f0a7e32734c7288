"""What is new, gone, mended or still broken in the source: each input is read when it has to be, and else never again."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.faults.conftest import Mine, moments
from tests.support import Output, Run, assert_every_input_in_one_row, pictures, pixelmill

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

TRUNCATED = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00"


def picture(tmp_path: Path, number: int) -> bytes:
    return pictures(tmp_path / "mended", 1, first=number)[0].read_bytes()


def finish(mine: Mine, *arguments: str, code: int) -> str:
    ended = pixelmill(mine.home, *arguments)
    assert ended.code == code, ended.stderr
    assert mine.home.left_behind() == []
    return ended.stdout


def fetched(mine: Mine, before: dict[str, int]) -> set[str]:
    """The inputs that were fetched since."""
    return {uri for uri in mine.uris if mine.gets(uri) != before.get(uri, 0)}


def counts(mine: Mine) -> dict[str, int]:
    return {uri: mine.gets(uri) for uri in mine.uris}


def failed_uris(output: Output) -> set[str]:
    table = output.table("failed")
    return set(table["uri"].to_pylist()) if table.num_rows else set()


def test_each_run_reads_what_is_new_and_retry_what_failed_though_it_is_killed(mine: Mine, tmp_path: Path) -> None:
    whole = mine.fill(40)
    broken = [mine.put(f"broken-{number}.jpg", TRUNCATED) for number in range(3)]
    assert "failed: 3 decode/Truncated" in finish(mine, *mine.command(), code=3)
    assert assert_every_input_in_one_row(mine.output, inputs=43) == {"Truncated": 3}
    reasons = mine.output.table("failed").sort_by("uri").to_pylist()

    # New ones are added, one is gone: only the new ones are read.
    mine.remove(whole[0])
    before, new = counts(mine), mine.fill(10, first=100)
    said = finish(mine, *mine.command(), code=3)
    assert fetched(mine, before) == set(new)
    assert "1 input gone, 0 changed" in said
    assert assert_every_input_in_one_row(mine.output, inputs=53) == {"Truncated": 3}

    # Two are mended. A retry that is killed between publishing rows and settling them leaves no row twice.
    for number in (0, 1):
        mine.put(f"broken-{number}.jpg", picture(tmp_path, 200 + number))
    before, parts = counts(mine), mine.output.parts()
    with Run(mine.home, "retry", mine.out) as run:
        run.wait_until(lambda: mine.output.parts() > parts, "the retry published")
        run.kill()
        assert run.wait_until_gone() == []
    assert fetched(mine, before) == set(broken)
    before = counts(mine)
    assert "failed: 1 decode/Truncated" in finish(mine, "retry", mine.out, code=3)
    assert fetched(mine, before) == {broken[2]}
    assert assert_every_input_in_one_row(mine.output, inputs=53) == {"Truncated": 1}
    assert mine.output.table("failed").to_pylist() == reasons[2:]


@pytest.mark.slow
def test_a_retry_killed_at_ten_random_moments_leaves_each_input_in_one_row(mine: Mine, tmp_path: Path) -> None:
    mine.fill(20)
    broken = [mine.put(f"broken-{number:03d}.jpg", TRUNCATED) for number in range(90)]
    finish(mine, *mine.command("run.max_failed_fraction=1"), code=3)
    for number in range(0, 90, 2):
        mine.put(f"broken-{number:03d}.jpg", picture(tmp_path, 300 + number))
    for moment_s in moments("retry", 10, 25.0):
        with Run(mine.home, "retry", mine.out) as run:
            deadline = time.monotonic() + moment_s
            while time.monotonic() < deadline and run.process.poll() is None:
                time.sleep(0.02)
            run.kill()
            assert run.wait_until_gone() == []
    finish(mine, "retry", mine.out, code=3)
    assert assert_every_input_in_one_row(mine.output, inputs=110) == {"Truncated": 45}
    assert failed_uris(mine.output) == set(broken[1::2])
