"""Whatever is printed within the block is in the log and not on the terminal, and afterwards all is as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pixelmill.jobs.terminal.log_capture import captured_output, log_file
from tests.jobs.terminal.descriptors import streams_of_descriptors

Captured = pytest.CaptureFixture[str]


@streams_of_descriptors()
def test_what_python_the_descriptors_and_children_print_is_in_the_log(capfd: Captured, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with captured_output(log):
        sys.stdout.write("of Python\n")
        sys.stderr.write("of stderr\n")
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(1, b"of C++\n")
        subprocess.run(["sh", "-c", "echo of a child; echo its error >&2"], check=True)
    assert sorted(log.read_text().splitlines()) == ["its error", "of C++", "of Python", "of a child", "of stderr"]
    assert capfd.readouterr() == ("", "")


@streams_of_descriptors()
def test_the_stream_that_it_gives_reaches_the_terminal(capfd: Captured, tmp_path: Path) -> None:
    with captured_output(tmp_path / "log") as terminal:
        terminal.write("for the person\n")
    assert capfd.readouterr().err == "for the person\n"
    assert (tmp_path / "log").read_text() == ""


@pytest.mark.parametrize("fails", [False, True])
@streams_of_descriptors()
def test_after_the_block_the_terminal_is_back_and_no_descriptor_is_left(
    capfd: Captured, tmp_path: Path, fails: bool
) -> None:
    before = sorted(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else None
    sys.stdout.write("before, not yet flushed\n")
    try:
        with captured_output(tmp_path / "log"):
            sys.stdout.write("within\n")
            if fails:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert fails
    os.write(1, b"after\n")
    os.write(2, b"after\n")
    assert capfd.readouterr() == ("before, not yet flushed\nafter\n", "after\n")
    assert (tmp_path / "log").read_text() == "within\n"
    if before is not None:
        assert sorted(os.listdir("/proc/self/fd")) == before


@streams_of_descriptors()
def test_a_log_that_is_there_is_appended_to_and_a_new_one_is_for_its_owner_alone(
    capfd: Captured, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    for word in ("first", "second"):
        with captured_output(log):
            sys.stdout.write(f"{word}\n")
    assert log.read_text() == "first\nsecond\n"
    assert log.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("fails", [False, True])
def test_the_file_of_the_log_is_gone_after_the_block(fails: bool) -> None:
    kept = list[Path]()
    try:
        with log_file() as log:
            log.write_text("x")
            kept.append(log)
            if fails:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert fails
    assert not kept[0].parent.exists()
