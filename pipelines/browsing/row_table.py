"""The small columns of every row of a run in a table of DuckDB, for filters, orders and pages; new parts are added to it.

The files are read by `open_parquet` like everywhere, and DuckDB gets Arrow tables: it opens no file but its own, loads no
extension, and reaches no network. Columns of pictures, vectors and Hounsfield units stay in the files.

    rows      row (from 0, in the order in which parts were found), part, place in it, and the columns
    failed    the rows of failed/

Columns that were found out afterwards are called NAME.COLUMN, as in clusters.cluster, while they are not stale.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import pyarrow as pa

from pixelmill.pipelines.browsing.queries import Filter, Kind, Query, condition, quoted
from pixelmill.pipelines.browsing.small_columns import OWN, SQL_TYPES, connected, declared, kinds_of, without_lists
from pixelmill.pipelines.findings import stored
from pixelmill.pipelines.findings.stored import Found
from pixelmill.pipelines.outputs.columns import DATA, FAILED, FAILED_SCHEMA, PLACE, SUCCESS
from pixelmill.pipelines.outputs.contents import failures
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import declared_schema, open_parquet, read_rows
from pixelmill.workers.errors import JobError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

READERS = 8
"""Parts that are read at once: of a store, each costs the time of a few requests."""
TOP_VALUES, BINS = 40, 30
NOT_ATTACHED = frozenset({"project"})
"""Kinds of results whose columns are no columns to filter by."""
KEYS = frozenset({"id", "uri", "member", PLACE.name})


class Place(NamedTuple):
    """Where a row lies: its data file, its number in it, and the id of its input."""

    part: str
    row: int
    id: str


@dataclass(frozen=True)
class Page:
    """Some rows of those that a query finds, each with its number `_row`."""

    total: int
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Values:
    """What a column holds: its most frequent values, and of numbers their range in equal bins."""

    distinct: int
    top: list[tuple[Any, int]]
    low: float | None = None
    high: float | None = None
    counts: tuple[int, ...] = ()


@dataclass(frozen=True)
class Codes:
    """`groups` are values with their counts, the most frequent first; `numbers_N` is the place of each row's value among them,
    len(groups) for any other value, -1 for none."""

    groups: list[tuple[Any, int]]
    other_values: int
    others: int
    numbers_N: np.ndarray


class RowTable:
    """Safe to use from many threads; `refresh` is what makes it see new parts."""

    def __init__(self, folder: Folder, database: Path) -> None:
        """`database` is the file that DuckDB makes. Nothing is read before the first `refresh`."""
        self._folder, self._connection = folder, connected(database)
        self._lock = threading.Lock()
        self._parts: list[str] = []
        self._kinds: dict[str, Kind] = {}
        self._attached: dict[str, tuple[str, ...]] = {}
        self._found_tags: dict[str, object] = {}
        self._failed_stamp: tuple[object, ...] | None = None
        self._rows = 0
        self._generation = 0
        self._connection.execute(
            "create table failed (id text, uri text, member text, stage text, error_type text, error text)"
        )

    @property
    def columns(self) -> Mapping[str, Kind]:
        return dict(self._kinds)

    @property
    def rows(self) -> int:
        return self._rows

    @property
    def generation(self) -> int:
        """Changes when numbers of rows no longer mean the same rows: parts were removed."""
        return self._generation

    @property
    def results(self) -> Mapping[str, object]:
        """A tag of each stored result, which changes when the result does."""
        return dict(self._found_tags)

    def refresh(self) -> None:
        """Read the parts, failures and results that are new since the last time."""
        with self._lock:
            names = self._folder.names(DATA)
            if not set(self._parts) <= set(names):
                self._forget()
            new = [name for name in names if name not in set(self._parts)]
            if new:
                self._add_parts(new)
            self._read_failures()
            self._attach_results(is_grown=bool(new))

    def close(self) -> None:
        self._connection.close()

    # ----------------------------------------------------------------------------------------------------- questions

    def page(self, query: Query) -> Page:
        """Rows with their small columns, nulls last; equal rows in the order of the run."""
        where, values = condition(query.filters)
        order = ""
        if query.order is not None:
            order = f"{quoted(query.order)} {'desc' if query.falling else 'asc'} nulls last, "
        if not self._kinds:
            return Page(0, [])
        names = ", ".join(map(quoted, ["_row", *self._kinds]))
        total = int(self._ask(f"select count(*) from rows where {where}", values)[0][0])
        sql = f"select {names} from rows where {where} order by {order}_row limit {query.limit} offset {query.offset}"
        return Page(total, self._ask_rows(sql, values))

    def numbers(self, filters: Sequence[Filter]) -> np.ndarray:
        """The numbers of the rows that pass, int64, rising."""
        if not self._kinds:
            return np.zeros(0, np.int64)
        where, values = condition(filters)
        return self._ask_column(f"select _row from rows where {where} order by _row", values).astype(np.int64)

    def rows_of(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """The small columns of these rows, in this order; numbers that there are not are left out."""
        if not numbers or not self._kinds:
            return []
        names = ", ".join(map(quoted, ["_row", *self._kinds]))
        listed = ", ".join(str(int(number)) for number in numbers)
        found = {row["_row"]: row for row in self._ask_rows(f"select {names} from rows where _row in ({listed})", [])}
        return [found[number] for number in numbers if number in found]

    def place_of(self, number: int) -> Place:
        """Where a row lies. JobError for a number that there is not."""
        found = self._ask("select _part, _place, id from rows where _row = ?", [number]) if self._kinds else []
        if not found:
            raise JobError(f"there is no row {number}; this run has {self._rows:,}")
        part, place, identity = found[0]
        return Place(self._parts[part], place, identity)

    def numbers_of_keys(self, keys: pa.Table) -> np.ndarray:
        """The row of each key (id, and place where there is one), int64; -1 where there is none."""
        if not self._kinds:
            return np.full(keys.num_rows, -1, np.int64)
        on = "k.id = r.id"
        if PLACE.name in keys.column_names and PLACE.name in self._kinds:
            on += f" and k.{PLACE.name} = r.{PLACE.name}"
        names = [name for name in ("id", PLACE.name) if name in keys.column_names]
        numbered = keys.select(names).append_column("_key", cast("Any", pa.array(np.arange(keys.num_rows))))
        sql = f"select min(r._row) from keys k left join rows r on {on} group by k._key order by k._key"
        with self._connection.cursor() as cursor:
            cursor.register("keys", numbered)
            found = cast("Any", cursor.execute(sql)).fetchnumpy()
        (column,) = found.values()
        return np.ma.filled(np.ma.asarray(column).astype(np.int64), -1)

    def values_of(self, column: str) -> Values:
        """What a known column holds."""
        name = quoted(column)
        top = self._ask(
            f"select {name}, count(*) c from rows where {name} is not null group by 1 order by c desc, 1 limit {TOP_VALUES}",
            [],
        )
        distinct = int(self._ask(f"select count(distinct {name}) from rows", [])[0][0])
        pairs = [(value, int(count)) for value, count in top]
        if self._kinds[column] != "number":
            return Values(distinct, pairs)
        low, high = self._ask(f"select min({name}), max({name}) from rows where isfinite(cast({name} as double))", [])[
            0
        ]
        if low is None:
            return Values(distinct, pairs)
        width = (float(high) - float(low)) or 1.0
        sql = (
            f"select least(floor((cast({name} as double) - ?) / ? * {BINS}), {BINS - 1}) b, count(*) from rows "
            f"where isfinite(cast({name} as double)) group by b"
        )
        counts = [0] * BINS
        for place, count in self._ask(sql, [float(low), width]):
            counts[int(place)] = int(count)
        return Values(distinct, pairs, float(low), float(high), tuple(counts))

    def codes(self, column: str, most: int) -> Codes:
        """The most frequent values of a known column by number, and the number of each row's value."""
        name = quoted(column)
        counts = f"select {name} v, count(*) c from rows where {name} is not null group by 1 order by c desc, 1"
        top = self._ask(f"{counts} limit {most}", [])
        distinct, there = self._ask(f"select count(distinct {name}), count({name}) from rows", [])[0]
        sql = (
            f"with top as (select v, row_number() over (order by c desc, v) - 1 k from ({counts} limit {most})) "
            f"select coalesce(top.k, if({name} is null, -1, {most})) from rows left join top on rows.{name} = top.v order by _row"
        )
        numbers_N = self._ask_column(sql, []).astype(np.int64)
        groups = [(value, int(count)) for value, count in top]
        return Codes(groups, int(distinct) - len(top), int(there) - sum(count for _, count in groups), numbers_N)

    def column(self, name: str) -> np.ndarray:
        """All values of a known column, in the order of rows; masked where null."""
        return self._ask_column(f"select {quoted(name)} from rows order by _row", [])

    def failures(self, filters: Mapping[str, str], text: str, offset: int, limit: int) -> Page:
        """Rows of failed/ with these values of columns, and with a text in their uri or error."""
        parts = [f"{quoted(name)} = ?" for name in filters]
        values: list[Any] = list(filters.values())
        if text:
            parts.append("(contains(lower(uri), lower(?)) or contains(lower(error), lower(?)) or id = ?)")
            values += [text, text, text]
        where = " and ".join(parts) or "true"
        total = int(self._ask(f"select count(*) from failed where {where}", values)[0][0])
        return Page(
            total,
            self._ask_rows(
                f"select * from failed where {where} order by uri, id limit {limit} offset {offset}", values
            ),
        )

    def reasons(self) -> list[tuple[str, str, int]]:
        """Stage, kind of error and number of failures, the most frequent first."""
        return cast(
            "list[tuple[str, str, int]]",
            self._ask("select stage, error_type, count(*) c from failed group by 1, 2 order by c desc, 1, 2", []),
        )

    def _ask(self, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            return cursor.execute(sql, list(values)).fetchall()

    def _ask_rows(self, sql: str, values: Sequence[object]) -> list[dict[str, Any]]:
        with self._connection.cursor() as cursor:
            done = cursor.execute(sql, list(values))
            names = [str(each[0]) for each in done.description or ()]
            return [dict(zip(names, row, strict=True)) for row in done.fetchall()]

    def _ask_column(self, sql: str, values: Sequence[object]) -> np.ndarray:
        with self._connection.cursor() as cursor:
            (column,) = cast("Any", cursor.execute(sql, list(values))).fetchnumpy().values()
            return column

    # ------------------------------------------------------------------------------------------------------- reading

    def _forget(self) -> None:
        """Parts were removed: numbers of rows begin anew."""
        self._connection.execute("drop table if exists rows")
        self._parts, self._kinds, self._attached, self._found_tags = [], {}, {}, {}
        self._rows, self._generation = 0, self._generation + 1

    def _add_parts(self, names: Sequence[str]) -> None:
        with ThreadPoolExecutor(READERS, "parts") as threads, self._connection.cursor() as cursor:
            for name, (table, kinds) in zip(names, threads.map(self._read_part, names), strict=True):
                if not self._kinds:
                    self._create(kinds)
                self._insert(cursor, table, kinds)
                self._parts.append(name)
                self._rows += table.num_rows

    def _read_part(self, name: str) -> tuple[pa.Table, dict[str, Kind]]:
        with self._folder.open(f"{DATA}/{name}") as file, open_parquet(file) as parquet:
            kinds = kinds_of(declared_schema(parquet))
            return without_lists(read_rows(parquet, list(kinds))), kinds

    def _create(self, kinds: Mapping[str, Kind]) -> None:
        self._connection.execute(f"create table rows (_row bigint, _part integer, _place integer, {declared(kinds)})")
        self._kinds = dict(kinds)

    def _insert(self, cursor: DuckDBPyConnection, table: pa.Table, kinds: Mapping[str, Kind]) -> None:
        """Columns that the first part did not have are left out, and those that this one lacks are null."""
        there = [name for name, kind in kinds.items() if self._kinds.get(name) == kind]
        numbered = table.select(there).append_column(
            "_place", cast("Any", pa.array(np.arange(table.num_rows, dtype=np.int32)))
        )
        names = ", ".join(map(quoted, [*OWN, *there]))
        cursor.register("incoming", numbered)
        chosen = ", ".join(map(quoted, ["_place", *there]))
        cursor.execute(
            f"insert into rows ({names}) select _place + {self._rows}, {len(self._parts)}, {chosen} from incoming"
        )
        cursor.unregister("incoming")

    def _read_failures(self) -> None:
        names = self._folder.names(FAILED)
        stamp = (*names, self._folder.tag(SUCCESS))  # a retry replaces files of these names, and then _SUCCESS
        if stamp == self._failed_stamp:
            return
        tables = [table for _, table in failures(self._folder)]
        with self._connection.cursor() as cursor:
            cursor.register("incoming", pa.concat_tables(tables) if tables else FAILED_SCHEMA.empty_table())
            cursor.execute("begin; delete from failed")
            cursor.execute("insert into failed select id, uri, member, stage, error_type, error from incoming; commit")
            cursor.unregister("incoming")
        self._failed_stamp = stamp

    def _attach_results(self, *, is_grown: bool) -> None:
        """Columns of results that are new; those of stale ones are taken away."""
        tags: dict[str, object] = {
            name: self._folder.tag(f"{stored.EXPLORE}/{name}/{stored.ROWS}") for name in stored.names(self._folder)
        }
        if tags == self._found_tags and not is_grown:
            return
        for name in list(self._attached):
            self._detach(name)
        for name in tags if self._kinds else ():
            found = stored.read(self._folder, name)
            if found is not None and not found.is_stale and found.facts["kind"] not in NOT_ATTACHED:
                self._attach(name, found)
        self._found_tags = tags

    def _detach(self, name: str) -> None:
        for column in self._attached.pop(name):
            self._connection.execute(f"alter table rows drop column {quoted(column)}")
            self._kinds.pop(column, None)

    def _attach(self, name: str, found: Found) -> None:
        table = without_lists(found.rows)
        shown: dict[str, tuple[str, Kind]] = {}
        for column, kind in kinds_of(found.rows.schema).items():
            if column not in KEYS and f"{name}.{column}" not in self._kinds:
                shown[f"{name}.{column}"] = (column, kind)
        numbers = self.numbers_of_keys(table)
        values = table.select([column for column, _ in shown.values()]).append_column(
            "_row", cast("Any", pa.array(numbers))
        )
        with self._connection.cursor() as cursor:
            cursor.register("incoming", values)
            for column, (_, kind) in shown.items():
                cursor.execute(f"alter table rows add column {quoted(column)} {SQL_TYPES[kind]}")
            if shown:
                sets = ", ".join(f"{quoted(column)} = i.{quoted(own)}" for column, (own, _) in shown.items())
                cursor.execute(f"update rows set {sets} from incoming i where rows._row = i._row")
            cursor.unregister("incoming")
        self._attached[name] = tuple(shown)
        self._kinds.update({column: kind for column, (_, kind) in shown.items()})
