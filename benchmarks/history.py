"""The measured throughput of each release, `history.jsonl`, of which the README's table is made.

    python -m benchmarks.history            the table of the newest line, as in the README
    python -m benchmarks.history --check    whether the README holds that table
    python -m benchmarks.history --write    put it there

`python -m benchmarks --record` adds a line. Lists hold a value for each round; a ratio is taken within a round.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt

HISTORY = Path(__file__).with_name("history.jsonl")
README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- made by python -m benchmarks.history --write -->", "<!-- end -->"
LIMIT, OURS = "limit", "Pixelmill"


class Machine(BaseModel):
    model_config = ConfigDict(extra="forbid")

    processor: str
    cores: PositiveInt
    memory_gib: PositiveFloat
    load: float | None
    """Processes that ran or waited when the measurement began; None where that was not noted."""


class Figures(BaseModel):
    """The rates of one contender, round by round; the two ratios are to others from the same kind of source."""

    model_config = ConfigDict(extra="forbid")

    images: PositiveInt
    images_per_s: list[PositiveFloat]
    of_limit: list[PositiveFloat]
    pixelmill_is: list[PositiveFloat]
    first_result_s: list[PositiveFloat]
    total_s: list[PositiveFloat]


class Measured(BaseModel):
    """One line of the history."""

    model_config = ConfigDict(extra="forbid")

    version: str
    measured_on: str
    command: str
    note: str
    machine: Machine
    versions: dict[str, str]
    figures: dict[str, Figures]


def read_history(path: Path = HISTORY) -> list[Measured]:
    """The lines, oldest first. Raises ValueError for a line of another form."""
    return [Measured.model_validate_json(line) for line in path.read_text(encoding="utf-8").splitlines()]


def add(measured: Measured, path: Path = HISTORY) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{measured.model_dump_json()}\n")


def readme_table(measured: Measured) -> str:
    """The table in Markdown, with what it was measured on below it."""
    lines = ["| | images/s, steady | of the limit | Pixelmill is |", "|---|---|---|---|"]
    for label, figures in measured.figures.items():
        mark = "**" if label.startswith(OURS) else ""
        others = "" if label.startswith((OURS, LIMIT)) else f"{statistics.median(figures.pixelmill_is):.1f} x"
        cells = (label, _figure(figures.images_per_s, 1), _figure(figures.of_limit, 2))
        lines.append(f"| {' | '.join(f'{mark}{cell}{mark}' for cell in cells)} | {others} |")
    machine = measured.machine
    by = f"Version {measured.version}, {measured.measured_on}, by `{measured.command}`"
    below = f"{by}: {machine.cores} cores of {machine.processor}. {measured.note}"
    return "\n".join([*lines, "", *textwrap.wrap(below, 130, break_long_words=False, break_on_hyphens=False)])


def _figure(rounds: Sequence[float], digits: int) -> str:
    """The median, with the range where there were several rounds."""
    median = f"{statistics.median(rounds):.{digits}f}"
    return median if len(rounds) == 1 else f"{median} ({min(rounds):.{digits}f} to {max(rounds):.{digits}f})"


def with_table(readme: str, table: str) -> str:
    """The README with this table in its place. Raises ValueError where the README has no place for it."""
    before, begin, rest = readme.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(f"{END}\n")
    if not begin or not end:
        raise ValueError(f"the README has no {BEGIN} followed by {END}")
    return f"{before}{begin}{table}\n{end}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--history", type=Path, default=HISTORY)
    parser.add_argument("--readme", type=Path, default=README)
    options = parser.parse_args()
    table = readme_table(read_history(options.history)[-1])
    if not (options.check or options.write):
        print(table)
        return
    there = options.readme.read_text(encoding="utf-8")
    wanted = with_table(there, table)
    if options.write:
        options.readme.write_text(wanted, encoding="utf-8")
    elif there != wanted:
        sys.exit(
            "the README's table is not that of the newest line of the history: python -m benchmarks.history --write"
        )


if __name__ == "__main__":
    main()
