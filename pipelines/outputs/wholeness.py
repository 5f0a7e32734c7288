"""Check whether the rows of an input are whole: they have the places from 0 on, each once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa

from pixelmill.pipelines.arrow import integers_in, strings_of
from pixelmill.pipelines.outputs.columns import PLACE


@dataclass(frozen=True)
class Inputs:
    """The inputs of some rows, by id."""

    times: Counter[str] = field(default_factory=Counter[str])
    """How often each occurs: 2 if its rows, or one of them, occur twice."""
    incomplete: frozenset[str] = frozenset()
    """The inputs with a missing place."""

    @property
    def ids(self) -> set[str]:
        return set(self.times)

    @property
    def twice(self) -> set[str]:
        return {identity for identity, times in self.times.items() if times > 1}


def inputs_in(rows: pa.Table) -> Inputs:
    """The inputs of rows with an `id`, and with a `place` where an input may have many."""
    ids = strings_of(rows["id"])
    if PLACE.name not in rows.column_names:
        return Inputs(Counter(ids))
    times, places = Counter[str](), dict[str, set[int | None]]()
    for (identity, place), count in Counter(zip(ids, integers_in(rows[PLACE.name]), strict=True)).items():
        times[identity] = max(times[identity], count)
        places.setdefault(identity, set()).add(place)
    incomplete = (identity for identity, some in places.items() if some != set(range(len(some))))
    return Inputs(times, frozenset(incomplete))


def whole_rows_of(rows: pa.Table, belongs: frozenset[str]) -> list[bool]:
    """The rows to keep: those of whole inputs that belong here, each row once."""
    ids = strings_of(rows["id"])
    places = integers_in(rows[PLACE.name]) if PLACE.name in rows.column_names else [None] * len(ids)
    bad, seen, keep = inputs_in(rows).incomplete, set[tuple[str, int | None]](), list[bool]()
    for row in zip(ids, places, strict=True):
        keep.append(row[0] in belongs and row[0] not in bad and row not in seen)
        seen.add(row)
    return keep
