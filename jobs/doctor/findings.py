"""What an examination finds: a fact, and where it is a fault, what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import PixelmillError

Grade = Literal["ok", "warning", "fault"]
Examination = Callable[[], Iterator["Finding"]]


@dataclass(frozen=True)
class Finding:
    """One fact about `what`; only a finding that is ok has no next step."""

    grade: Grade
    what: str
    fact: str
    next_step: str | None = None

    def __post_init__(self) -> None:
        if (self.grade == "ok") != (self.next_step is None):
            raise ValueError(f"{self.what}: a problem has a next step, and what is ok has none")

    def line(self) -> str:
        step = f"; {self.next_step}" if self.next_step else ""
        return scrub(f"{self.grade:<9}{self.what:<14}{self.fact}{step}")


def ok(what: str, fact: str) -> Finding:
    return Finding("ok", what, fact)


def warning(what: str, fact: str, next_step: str) -> Finding:
    return Finding("warning", what, fact, next_step)


def fault(what: str, fact: str, next_step: str) -> Finding:
    return Finding("fault", what, fact, next_step)


def reported(what: str, examine: Examination, otherwise: str) -> Iterator[Finding]:
    """The findings, and an error that ends the examination as a fault: none hides what the others find. Messages of ours hold
    the next step after a semicolon; `otherwise` is that of all others."""
    try:
        yield from examine()
    except PixelmillError as error:
        fact, _, step = str(error).partition("; ")
        yield fault(what, fact, step or otherwise)
    except Exception as error:
        yield fault(what, f"can't be examined: {type(error).__name__}: {str(error)[:300]}", otherwise)
