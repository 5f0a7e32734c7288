"""Units of systemd fire as their cron line does and run the words as they were written; a line of crontab holds a lock."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from datetime import datetime
from itertools import islice
from pathlib import Path

import pytest

from pixelmill.jobs.scheduling import cron
from pixelmill.jobs.scheduling.timers import Scheduled, crontab_line, on_calendar, units

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed here")


MOMENT = datetime(2026, 11, 27, 13, 30)


def scheduled(line: str, *command: str, folder: Path = Path("/")) -> Scheduled:
    return Scheduled("nightly", cron.parse(line), command or ("/usr/bin/true",), folder)


@needs_systemd
@pytest.mark.parametrize(
    "line",
    ["0 2 * * *", "*/20 6-20 * * 1-5", "15 6 1 jan,jul *", "0 0 29 2 *", "30 3 */7 * *", "5 4 * * sun", "0 2 13 * 5"],
)
def test_systemd_fires_when_cron_would(line: str) -> None:
    parsed = cron.parse(line)
    base = f"--base-time={MOMENT:%Y-%m-%d %H:%M:%S}"
    command = ["systemd-analyze", "calendar", base, "--iterations=6", *on_calendar(parsed)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env={"TZ": "UTC"}).stdout
    times = sorted(
        {
            datetime.strptime(time, "%Y-%m-%d %H:%M")
            for time in re.findall(r"[A-Z][a-z]{2} (\d{4}-\d\d-\d\d \d\d:\d\d):00 UTC", shown)
        }
    )
    assert times[:6] == list(islice(parsed.times_after(MOMENT), 6))


@needs_systemd
def test_systemd_finds_no_fault_in_the_units_and_reads_the_words_as_they_are(tmp_path: Path) -> None:
    odd = ("/usr/bin/env", "printf", "%s|", 'a "b"', "c\\d", "$HOME", "50%", "")
    for name, text in units(scheduled("0 2 * * *", *odd, folder=tmp_path)).items():
        (tmp_path / name).write_text(text)
    paths = [str(path) for path in tmp_path.glob("pixelmill-*")]
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--user", *paths], capture_output=True, text=True, check=False
    )
    assert "pixelmill-nightly" not in checked.stderr, checked.stderr
    (line,) = [
        line for line in (tmp_path / "pixelmill-nightly.service").read_text().splitlines() if "ExecStart" in line
    ]
    as_systemd_reads = [word.replace("$$", "$").replace("%%", "%") for word in shlex.split(line.partition("=")[2])]
    assert as_systemd_reads == list(odd)


def test_a_line_of_crontab_escapes_what_cron_takes_for_the_end_and_holds_a_lock(tmp_path: Path) -> None:
    line = crontab_line(scheduled("0 2 * * *", "pixelmill", "run", "a b%.yaml", folder=tmp_path), tmp_path / "lock")
    assert line.startswith("0 2 * * * cd ")
    assert "flock -n" in line
    assert "'a b\\%.yaml'" in line
    assert not re.search(r"(?<!\\)%", line)
