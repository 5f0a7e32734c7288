"""From a job file and a cron line to what a machine runs, and its installation for the user."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from pixelmill.jobs.kubernetes.names import name_of_file
from pixelmill.jobs.places import absolute
from pixelmill.jobs.scheduling import cron, timers
from pixelmill.jobs.scheduling.timers import Scheduled
from pixelmill.jobs.surroundings import Surroundings
from pixelmill.jobs.work_file import read_work_file
from pixelmill.workers.errors import JobError

SHOWN_TIMES = 3


@dataclass(frozen=True)
class Asked:
    """The arguments of `pixelmill schedule`."""

    job: str
    cron: str
    is_crontab: bool = False
    name: str | None = None


def lines(asked: Asked, around: Surroundings) -> list[str]:
    """What a person installs. Raises JobError where the job can't be run, or the line is none or never fires."""
    scheduled = _scheduled(asked, around)
    if asked.is_crontab:
        return [f"# {_next_times(scheduled, around)}", timers.crontab_line(scheduled, _lock(scheduled, around))]
    printed = [f"# {name}\n{text}" for name, text in timers.units(scheduled).items()]
    return [*printed, f"# {_next_times(scheduled, around)}; --install writes both into {_unit_folder(around)}"]


def installed_lines(asked: Asked, around: Surroundings) -> list[str]:
    """Install the units and say what was done. Raises JobError before anything is written."""
    if asked.is_crontab:
        raise JobError("--install: a crontab may hold lines of others; print the line and add it with `crontab -e`")
    scheduled = _scheduled(asked, around)
    written = timers.install(scheduled, _unit_folder(around))
    timer = f"{scheduled.unit}.timer"
    commands = [["systemctl", "--user", "daemon-reload"], ["systemctl", "--user", "enable", "--now", timer]]
    said = [f"wrote {path}" for path in written]
    if failed := _first_failure(commands):
        said.append(f"the timer is not started: {failed}; start it with")
        said += [f"  {' '.join(command)}" for command in commands]
    else:
        said.append(f"started {timer}: {_next_times(scheduled, around)}")
    return [
        *said,
        f"undo it with: systemctl --user disable --now {timer}; it runs while you are logged out after: loginctl enable-linger",
    ]


def _first_failure(commands: list[list[str]]) -> str | None:
    if shutil.which("systemctl") is None:
        return "there is no systemctl here"
    for command in commands:
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            return (ended.stderr.strip() or f"exit code {ended.returncode}").splitlines()[0]
    return None


def _scheduled(asked: Asked, around: Surroundings) -> Scheduled:
    line = cron.parse(asked.cron)
    words = _command(asked.job, around)
    name = asked.name or name_of_file(asked.job)
    if not name or name != name_of_file(name):
        raise JobError(f"name {name!r}: is no name of a unit; give one of letters, digits and hyphens with --name")
    return Scheduled(name, line, (sys.executable, "-m", "pixelmill", *words), Path.cwd())


def _command(path: str, around: Surroundings) -> list[str]:
    """The words after `pixelmill`; the file is checked as each run will. Failed inputs, and a clean stop, are no failed unit."""
    work = read_work_file(path, around.environment)
    failures = ["--set", "run.failures=ok"] if work.kind == "job" else []
    return ["supervise", absolute(path), "--stopped", "ok", *failures]


def _next_times(scheduled: Scheduled, around: Surroundings) -> str:
    now = datetime.fromtimestamp(around.now())
    times = islice(scheduled.cron.times_after(now), SHOWN_TIMES)
    return f"next: {', '.join(f'{time:%a %Y-%m-%d %H:%M}' for time in times)}"


def _unit_folder(around: Surroundings) -> Path:
    configuration = around.environment.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(configuration) / "systemd" / "user"


def _lock(scheduled: Scheduled, around: Surroundings) -> Path:
    """Below the user's own folder for files of running programs, or the folder of the job."""
    runtime = around.environment.get("XDG_RUNTIME_DIR")
    return Path(runtime or scheduled.folder) / f".{scheduled.unit}.lock"
