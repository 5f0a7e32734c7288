"""What stores do to a job: outages, refusals, no rights, no space. Nothing is lost, and the words say what to do."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import MODEL, Mine
from tests.support import Ended, Home, Output, Run, assert_every_input_in_one_row, pictures, pixelmill

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]

QUICKLY_S = 20.0
"""Without Ray an error takes 2 s; the rest is for a machine that others use too."""


def started_ray(run: Run) -> bool:
    """Whether Ray was ever seen among the processes of a run, until it ends."""
    seen = False
    while run.process.poll() is None:
        seen = seen or bool(run.find("raylet") or run.find("gcs_server"))
        time.sleep(0.02)
    return seen


def refused(home: Home, *arguments: str, code: int) -> str:
    """What a run says that ends with `code` at once, before Ray is started."""
    with Run(home, *arguments) as run:
        assert not started_ray(run)
        assert time.monotonic() - run.started_s < QUICKLY_S
        assert run.wait() == code, run.stderr
        said = [line for line in run.stderr.splitlines() if line.startswith("pixelmill:")]
        assert len(said) == 1, run.stderr
        assert "Traceback" not in run.stderr
        assert run.wait_until_gone() == []
        return said[0]


# Passing faults


def test_a_tenth_of_requests_refused_and_a_tenth_cut_costs_no_row(mine: Mine) -> None:
    mine.fill(120)
    mine.proxy.set(fail_503=0.1, cut=0.1)
    with mine.start() as run:
        assert run.wait() == 0, run.stderr
    assert assert_every_input_in_one_row(mine.output, inputs=120) == {}
    assert mine.proxy.faults["SlowDown"] > 10
    assert mine.proxy.faults["cut"] > 10


def test_the_first_answer_to_every_write_is_lost(mine: Mine) -> None:
    mine.fill(12)
    mine.proxy.set(lose_first=True)
    with mine.start() as run:
        assert run.wait() == 0, run.stderr
    assert assert_every_input_in_one_row(mine.output, inputs=12) == {}
    assert mine.proxy.faults.total() > 10


def test_an_outage_of_30_s_in_the_middle_costs_no_row(mine: Mine) -> None:
    mine.fill(220)
    with mine.start() as run:
        run.wait_until(lambda: mine.output.parts() >= 2, "two parts were published")
        assert not any(name == "_SUCCESS" for name in mine.output.files())
        mine.gateway.stop()
        try:
            time.sleep(30)
            assert run.process.poll() is None, run.stderr
        finally:
            mine.gateway.start()
        assert run.wait() == 0, run.stderr
    assert assert_every_input_in_one_row(mine.output, inputs=220) == {}


# Refusals


def test_wrong_credentials_are_reported_before_ray_starts_and_do_not_show(mine: Mine) -> None:
    mine.fill(1)
    mine.home.environment["AWS_SECRET_ACCESS_KEY"] = "ab5c0ffee-wrong-secret"
    said = refused(mine.home, *mine.command(), code=1)
    assert "access denied" in said
    assert "check the credentials" in said
    assert "ab5c0ffee" not in said


def test_no_credentials_are_reported_before_ray_starts(mine: Mine) -> None:
    mine.fill(1)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del mine.home.environment[name]
    assert "credentials" in refused(mine.home, *mine.command(), code=1)


def test_a_missing_bucket_for_the_output_is_reported_before_ray_starts(mine: Mine) -> None:
    mine.fill(1)
    said = refused(mine.home, "embed", mine.source, "s3://there-is-none/out", code=2)
    assert "s3://there-is-none/out: does not exist" in said
    assert "check the name of the bucket" in said


def test_a_missing_bucket_for_the_source_is_reported_before_ray_starts(mine: Mine) -> None:
    said = refused(mine.home, "embed", "s3://there-is-none/in", mine.out, code=2)
    assert "s3://there-is-none/in: does not exist" in said
    assert mine.output.files("_run/manifest") == []


def test_an_empty_source_is_reported_before_ray_starts(mine: Mine, tmp_path: Path) -> None:
    said = refused(mine.home, "embed", str(tmp_path), mine.out, code=2)
    assert "no input was found" in said


def completes_after_repair(mine: Mine, rows: int) -> None:
    with mine.start() as run:
        assert run.wait() == 0, run.stderr
    assert assert_every_input_in_one_row(mine.output, inputs=rows) == {}
    assert mine.fetched_again() == {}


def test_a_store_that_denies_writing_is_reported_before_ray_starts(mine: Mine) -> None:
    mine.fill(1)
    mine.proxy.set(deny_puts=True)
    said = refused(mine.home, *mine.command(), code=1)
    assert f"{mine.out}: access denied, writing to the output folder" in said
    assert mine.output.files() == []


def test_a_full_store_is_reported_before_ray_starts(mine: Mine) -> None:
    mine.fill(1)
    mine.proxy.set(full=True)
    said = refused(mine.home, *mine.command(), code=1)
    assert f"{mine.out}: no space is left" in said
    assert mine.output.files() == []


def stops_in_the_middle(mine: Mine, words: str, **faults: bool) -> None:
    """A store that refuses for good ends the run within seconds with a sentence."""
    mine.fill(220)
    with mine.start() as run:
        run.wait_until(lambda: mine.output.parts() >= 2, "two parts were published")
        mine.proxy.set(**faults)
        at_s = time.monotonic()
        assert run.wait() == 1, run.stderr
        assert time.monotonic() - at_s < 60
        assert words in run.stderr.splitlines()[-1]
        assert "Traceback" not in run.stderr
        assert run.wait_until_gone() == []
    assert 0 < mine.seal() < 220


@pytest.mark.slow  # a disk that fills up in the middle is below
def test_a_store_that_fills_up_in_the_middle_ends_the_run_and_the_same_command_completes_it(mine: Mine) -> None:
    stops_in_the_middle(mine, "no space is left, writing", full=True)
    mine.proxy.set()
    completes_after_repair(mine, 220)


@pytest.mark.slow
def test_a_store_that_turns_read_only_in_the_middle_ends_the_run_and_the_same_command_completes_it(mine: Mine) -> None:
    stops_in_the_middle(mine, "access denied, writing", deny_puts=True)
    mine.proxy.set()
    completes_after_repair(mine, 220)


# Local folders


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """`small_disk(size)` mounts a disk of so many bytes, where that is allowed."""
    mounted: list[Path] = []

    def mount(size_bytes: int) -> Path:
        folder = tmp_path / "disk"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
        if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("a disk can't be mounted here")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_read_only_folder_is_reported_before_ray_starts(
    user: Home, tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    pictures(tmp_path / "in", 4)
    folder = read_only(tmp_path, small_disk)
    said = refused(user, "embed", str(tmp_path / "in"), str(folder / "out"), "--model", MODEL, code=1)
    assert f"{folder}/out: {'is read-only' if os.geteuid() == 0 else 'access denied'}, writing to the output" in said
    assert os.listdir(folder) == []


def read_only(tmp_path: Path, small_disk: Callable[[int], Path]) -> Path:
    """A folder without the right to write; for root, who has every right, a disk without it."""
    if os.geteuid() == 0:
        disk = small_disk(64 << 10)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        return disk
    (tmp_path / "out").mkdir(mode=0o555)
    return tmp_path / "out"


def test_a_disk_without_space_is_reported_before_anything_is_lost(
    user: Home, tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    pictures(tmp_path / "in", 4)
    disk = small_disk(64 << 10)
    (disk / "other").write_bytes(b"\0" * (60 << 10))
    arguments = ("embed", str(tmp_path / "in"), str(disk / "out"), "--model", MODEL)
    said = refused(user, *arguments, code=2)
    assert f"{disk}/out: 0 MB are free and at least 1 MB will be written; free some" in said
    assert not (disk / "out").exists()


def test_a_disk_that_fills_up_in_the_middle_ends_the_run_and_the_same_command_completes_it(
    user: Home, tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    pictures(tmp_path / "in", 220)
    disk = small_disk(8 << 20)
    arguments = ("embed", str(tmp_path / "in"), str(disk / "out"), "--model", MODEL)
    output = Output(str(disk / "out"))
    with Run(user, *arguments) as run:
        run.wait_until(lambda: output.parts() >= 2, "two parts were published")
        fill(disk / "other")
        assert run.wait() == 1, run.stderr
        assert "no space is left" in run.stderr.splitlines()[-1]
        assert "Traceback" not in run.stderr
    made = output.published("_run")
    (disk / "other").unlink()
    ended: Ended = pixelmill(user, *arguments)
    assert ended.code == 0, ended.stderr
    assert assert_every_input_in_one_row(output, inputs=220) == {}
    assert made.items() <= output.contents("_run").items()


def fill(path: Path) -> None:
    """Take all the space there is."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return
