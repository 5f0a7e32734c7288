"""Cron lines: five fields, read as Kubernetes and Vixie cron read them, and refused where they never fire.

A day counts if it fits the day of the month or the day of the week where both are restricted, and both where one is `*`.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from pixelmill.workers.errors import JobError

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
SHORT_FORMS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_TERM = re.compile(r"(\*|\?|\w+)(?:-(\w+))?(?:/(\d+))?")
_LONGEST_GAP_DAYS = 366 * 41
"""From one 29 February that is a Sunday to the next, across a year such as 2100: `0 0 29 2 */7`."""


@dataclass(frozen=True)
class _Field:
    """One of the five fields: its name, its bounds, and words for values."""

    name: str
    least: int
    most: int
    words: tuple[str, ...] = ()

    def number(self, text: str) -> int:
        if text.lower() in self.words:
            return self.words.index(text.lower()) + self.least
        if not text.isascii() or not text.isdigit() or not self.least <= int(text) <= self.most:
            raise JobError(f"{self.name} {text}: there are {self.least} to {self.most}{self._worded()}")
        return int(text)

    def _worded(self) -> str:
        return f" and {', '.join(self.words)}" if self.words else ""


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, MONTHS),
    _Field("day of the week", 0, 7, DAYS),
)


@dataclass(frozen=True)
class Cron:
    """A cron line: the values of each field, in order; Sunday is 0."""

    line: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    any_day: bool
    """Whether the day of the month is not restricted."""
    any_weekday: bool

    def fires_on(self, day: datetime) -> bool:
        """Whether it fires at any time of this day."""
        by_date, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        fits = by_date and by_weekday if self.any_day or self.any_weekday else by_date or by_weekday
        return day.month in self.months and fits

    def times_after(self, moment: datetime) -> Iterator[datetime]:
        """The moments at which it fires, in order, after this one; of local time, without its changes."""
        begin = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
        day = begin.replace(hour=0, minute=0)
        idle_days = 0
        while idle_days <= _LONGEST_GAP_DAYS:
            idle_days += 1
            if self.fires_on(day):
                idle_days = 0
                times = (day.replace(hour=hour, minute=minute) for hour in self.hours for minute in self.minutes)
                yield from (time for time in times if time >= begin)
            day += timedelta(days=1)

    def never_fires(self) -> bool:
        if not self.any_weekday:  # a weekday comes in every month
            return False
        return not any(day <= _longest(month) for month in self.months for day in self.days)


def _longest(month: int) -> int:
    """The days of a month in a leap year."""
    return calendar.monthrange(2024, month)[1]


def parse(line: str, *, sunday_is_7: bool = True) -> Cron:
    """Read a cron line; Kubernetes does not take 7 for Sunday. Raises JobError, with the field at fault, where it is none or
    never fires."""
    try:
        return _parsed(line, sunday_is_7=sunday_is_7)
    except JobError as error:
        raise JobError(f"schedule {line!r}: {error}") from None


def _parsed(line: str, *, sunday_is_7: bool) -> Cron:
    if "TZ=" in line:
        raise JobError("a time zone does not belong in the line; give --time-zone instead")
    words = SHORT_FORMS.get(line.strip().lower(), line).split()
    if len(words) != len(_FIELDS):
        raise JobError(
            f"has {len(words)} fields and not 5: minute, hour, day of the month, month, day of the week; as in 0 2 * * *"
        )
    minutes, hours, days, months, weekdays = map(_values, _FIELDS, words)
    if 7 in weekdays and not sunday_is_7:
        raise JobError("day of the week 7: Kubernetes counts from 0 to 6; write 0 for Sunday")
    sundays = tuple(sorted({day % 7 for day in weekdays}))
    made = Cron(line.strip(), minutes, hours, days, months, sundays, _is_any(words[2]), _is_any(words[4]))
    if made.never_fires():
        which = ", ".join(f"{MONTHS[month - 1].capitalize()} has {_longest(month)} days" for month in months)
        raise JobError(f"never fires: {which}; choose another day of the month")
    return made


def _is_any(word: str) -> bool:
    return word[0] in "*?"


def _values(field: _Field, word: str) -> tuple[int, ...]:
    return tuple(sorted({value for term in word.split(",") for value in _of_term(field, term)}))


def _of_term(field: _Field, term: str) -> range:
    match = _TERM.fullmatch(term)
    if match is None or (match[1] in "*?" and match[2]):
        raise JobError(
            f"{field.name} {term}: write a number, a range such as 1-5, a step such as */10, or a list of them"
        )
    least, most = field.least, min(field.most, 6) if field.words is DAYS else field.most
    if match[1] not in "*?":
        least = field.number(match[1])
        if match[2] or not match[3]:  # 5/10 is every tenth from 5 to the end
            most = field.number(match[2] or match[1])
    step = int(match[3] or 1)
    if least > most:
        raise JobError(f"{field.name} {term}: {least} comes after {most}; write two ranges")
    if not step:
        raise JobError(f"{field.name} {term}: a step is 1 or more")
    return range(least, most + 1, step)
