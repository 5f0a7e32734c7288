"""What a person asks of the rows of a run: filters, an order, a page. Checked here; names and values never become SQL text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from pixelmill.workers.errors import JobError

Kind = Literal["number", "text", "boolean"]
Value = str | float | bool

OPERATORS: dict[str, tuple[str, frozenset[Kind]]] = {
    "is": ("{column} = ?", frozenset({"number", "text", "boolean"})),
    "is not": ("{column} is distinct from ?", frozenset({"number", "text", "boolean"})),
    "at least": ("{column} >= ?", frozenset({"number"})),
    "at most": ("{column} <= ?", frozenset({"number"})),
    "contains": ("contains(lower({column}), lower(?))", frozenset({"text"})),
    "is empty": ("{column} is null", frozenset({"number", "text", "boolean"})),
    "is not empty": ("{column} is not null", frozenset({"number", "text", "boolean"})),
}
"""What a filter may say, its SQL, and the kinds of columns that it suits."""
WITHOUT_VALUE = frozenset({"is empty", "is not empty"})
MOST_FILTERS, MOST_TEXT, MOST_ROWS = 16, 1_000, 500


@dataclass(frozen=True)
class Filter:
    """A condition on one column."""

    column: str
    operator: str
    value: Value | None = None


@dataclass(frozen=True)
class Query:
    """`order` is a column, or None for the order of the run; rows without a value come last."""

    filters: tuple[Filter, ...] = ()
    order: str | None = None
    falling: bool = False
    offset: int = 0
    limit: int = 60


def quoted(name: str) -> str:
    """A name of a column as SQL."""
    return '"' + name.replace('"', '""') + '"'


def filters_of(given: object, columns: Mapping[str, Kind]) -> tuple[Filter, ...]:
    """Filters as JSON gives them: a list of [column, operator, value]. JobError for what is no filter of these columns."""
    if not isinstance(given, list):
        raise JobError("filter: is no list; give [[column, operator, value], ...]")
    listed = cast("list[object]", given)
    if len(listed) > MOST_FILTERS:
        raise JobError(f"filter: there are {len(listed)}; give at most {MOST_FILTERS}")
    return tuple(_filter_of(each, columns) for each in listed)


def _filter_of(given: object, columns: Mapping[str, Kind]) -> Filter:
    if not isinstance(given, list) or not 2 <= len(cast("list[object]", given)) <= 3:
        raise JobError("filter: each is [column, operator, value]")
    column, operator, *rest = cast("list[object]", given)
    name = known_column(column, columns)
    if not isinstance(operator, str) or operator not in OPERATORS:
        raise JobError(f"filter of {name}: there are the operators {', '.join(OPERATORS)}")
    if columns[name] not in OPERATORS[operator][1]:
        raise JobError(f"filter of {name}: {operator} does not suit a column of {columns[name]}s")
    if operator in WITHOUT_VALUE:
        return Filter(name, operator)
    return Filter(name, operator, _value_of(name, rest[0] if rest else None, columns[name]))


def _value_of(name: str, given: object, kind: Kind) -> Value:
    if kind == "boolean" and isinstance(given, bool):
        return given
    if kind == "number" and isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given):
        return float(given)
    if kind == "text" and isinstance(given, str) and len(given) <= MOST_TEXT:
        return given
    wanted = {"boolean": "true or false", "number": "a number", "text": f"text of at most {MOST_TEXT:,} characters"}
    raise JobError(f"filter of {name}: give {wanted[kind]}")


def known_column(given: object, columns: Mapping[str, Kind]) -> str:
    """The name of a column that there is. JobError for any other."""
    if not isinstance(given, str) or given not in columns:
        shown = str(given)[:80]
        raise JobError(f"there is no column {shown!a} of one value a row; there are {', '.join(columns) or 'none'}")
    return given


def page_of(offset: int, limit: int) -> tuple[int, int]:
    """JobError for a page that is none."""
    if not 0 <= offset < 2**53 or not 1 <= limit <= MOST_ROWS:
        raise JobError(f"page: begin at row 0 or later, and ask for 1 to {MOST_ROWS} rows")
    return offset, limit


def condition(filters: Sequence[Filter]) -> tuple[str, list[Value]]:
    """A WHERE clause and its parameters."""
    if not filters:
        return "true", []
    parts = [OPERATORS[each.operator][0].format(column=quoted(each.column)) for each in filters]
    return " and ".join(f"({part})" for part in parts), [each.value for each in filters if each.value is not None]
