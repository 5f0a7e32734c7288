"""A schedule on one machine: units of systemd for the user, or a line for crontab. The machine must be up at the time.

systemd starts no service twice, and makes up for a time at which the machine was off. cron does neither, so its line
holds a lock.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from pixelmill.jobs.scheduling.cron import DAYS, Cron
from pixelmill.workers.errors import JobError

MARK = "# Written by pixelmill schedule; it replaces this file, and no file without this line."
PREFIX = "pixelmill-"
_DAYS_OF_SYSTEMD = tuple(day.capitalize() for day in DAYS)


@dataclass(frozen=True)
class Scheduled:
    """What runs when: the words of the command, the folder that it runs in, and a name for its units."""

    name: str
    cron: Cron
    command: tuple[str, ...]
    folder: Path

    @property
    def unit(self) -> str:
        return f"{PREFIX}{self.name}"


def units(scheduled: Scheduled) -> dict[str, str]:
    """The service and its timer, by the names of their files."""
    service = f"""\
{MARK}
[Unit]
Description=pixelmill {_in_unit(scheduled.name)}

[Service]
Type=oneshot
WorkingDirectory={_in_unit(str(scheduled.folder))}
# Credentials: NAME=VALUE lines in a file that only you can read; none is needed where this file is missing.
EnvironmentFile=-%h/.config/pixelmill/environment
ExecStart={" ".join(_quoted(word) for word in scheduled.command)}
# SIGTERM is answered with a checkpoint or the end of a part.
TimeoutStopSec=120
"""
    calendar = "\n".join(f"OnCalendar={line}" for line in on_calendar(scheduled.cron))
    timer = f"""\
{MARK}
[Unit]
Description={_in_unit(scheduled.cron.line)}

[Timer]
{calendar}
Persistent=true

[Install]
WantedBy=timers.target
"""
    return {f"{scheduled.unit}.service": service, f"{scheduled.unit}.timer": timer}


def on_calendar(cron: Cron) -> list[str]:
    """The times in systemd's form: two lines where a day counts by its date or by its weekday, one otherwise."""
    time = f"{_listed(cron.hours, 24)}:{_listed(cron.minutes, 60)}:00"
    months = _listed(cron.months, 12)
    by_date = f"*-{months}-{_listed(cron.days, 31)} {time}"
    weekdays = ",".join(_DAYS_OF_SYSTEMD[day] for day in cron.weekdays)
    every_weekday = len(cron.weekdays) == len(DAYS)
    if cron.any_day or cron.any_weekday:
        return [by_date if every_weekday else f"{weekdays} {by_date}"]
    return [by_date, f"{weekdays} *-{months}-* {time}"]


def _listed(values: tuple[int, ...], count: int) -> str:
    return "*" if len(values) == count else ",".join(f"{value:02}" for value in values)


def crontab_line(scheduled: Scheduled, lock: Path) -> str:
    """A line for `crontab -e`. The lock keeps a run from beginning beside the one before it."""
    words = ["flock", "-n", str(lock), *scheduled.command]
    return f"{scheduled.cron.line} cd {shlex.quote(str(scheduled.folder))} && {shlex.join(words)}".replace("%", "\\%")


def install(scheduled: Scheduled, folder: Path) -> list[Path]:
    """Write the units into the user's folder of units. Raises JobError where a file of such a name is not ours; then none is
    written."""
    made = {folder / name: text for name, text in units(scheduled).items()}
    for path in made:
        if path.is_symlink() or (path.exists() and not _is_ours(path)):
            raise JobError(f"{path}: is not written by pixelmill, and stays as it is; choose another name with --name")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in made.items():
            draft = path.with_name(f".{path.name}.draft")
            draft.write_text(text, encoding="utf-8")
            draft.replace(path)
    except OSError as error:
        raise JobError(f"{folder}: units can't be written there ({error}); print them without --install") from error
    return list(made)


def _is_ours(path: Path) -> bool:
    try:
        return path.read_text(encoding="utf-8").startswith(MARK)
    except (OSError, UnicodeDecodeError):
        return False


def _quoted(word: str) -> str:
    """A word of a command as systemd reads it: it knows quotes and backslashes, % and $ stand for values."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return _in_unit(word if re.fullmatch(r"[\w@%+=:,./$-]+", word) else f'"{word}"')


def _in_unit(text: str) -> str:
    return text.replace("%", "%%")
