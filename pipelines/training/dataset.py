"""The samples of a data set before they are read: for each role a table of where the bytes lie, one row per sample."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.inputs.sources import Ignored
from pixelmill.pipelines.stores.access import Access
from pixelmill.workers.ct.slice_facts import SliceFacts
from pixelmill.workers.errors import DataError
from pixelmill.workers.wording import counted

CLASSES = "classes"
"""The constant that names the classes, as JSON."""


@dataclass(frozen=True)
class DataSet:
    """Samples before they are read: for each role a table of where the bytes lie, one row per sample."""

    roles: dict[str, pa.Table]
    access: Access
    labels: np.ndarray | None = None
    constants: dict[str, bytes] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    ignored: dict[str, int] = field(default_factory=dict)
    """Files that are not samples, counted by suffix or kind."""
    inline: dict[str, pa.Array[Any]] = field(default_factory=dict[str, "pa.Array[Any]"])
    """Roles whose bytes stand in no file of their own, such as the annotations of one picture: a value for each sample."""
    slices: SliceFacts | None = None
    """Patient, series and place of each slice of CT; None for other samples."""
    notes: tuple[str, ...] = ()
    """What a layout took for granted, for a person."""

    def __len__(self) -> int:
        return self.first.num_rows

    @property
    def first(self) -> pa.Table:
        """The role that every sample has and is named by."""
        return next(iter(self.roles.values()))

    @property
    def is_contained(self) -> bool:
        """Whether samples lie in tables or archives, whose neighbours are read together."""
        return self.first["container"].null_count < len(self)

    @property
    def classes(self) -> list[str] | None:
        """The names of the folders that are labels; None where folders are not."""
        return json.loads(self.constants[CLASSES]) if self.labels is not None and CLASSES in self.constants else None

    def take(self, indices: Sequence[int] | np.ndarray) -> DataSet:
        rows = pa.array(np.asarray(indices, np.int64), pa.int64())
        labels = None if self.labels is None else self.labels[np.asarray(indices, np.int64)]
        roles = {role: table.take(rows) for role, table in self.roles.items()}
        inline = {role: values.take(rows) for role, values in self.inline.items()}
        slices = None if self.slices is None else self.slices.take(indices)
        return replace(self, roles=roles, labels=labels, inline=inline, slices=slices)

    def inlined(self, index: int) -> dict[str, bytes]:
        """The bytes of the inline roles of one sample."""
        return {role: values[index].as_py() for role, values in self.inline.items()}

    def says(self) -> list[str]:
        """Lines for a person: the classes where folders are classes, and the ignored files."""
        lines = list(self.notes)
        if (names := self.classes) is not None and self.labels is not None:
            counts = np.bincount(self.labels, minlength=len(names))
            shown = [f"{name} ({count:,})" for name, count in zip(names, counts, strict=True)]
            more = f", and {len(shown) - 12:,} more" if len(shown) > 12 else ""
            lines.append(f"{counted(len(self), 'picture')} of {len(names):,} classes: {', '.join(shown[:12])}{more}")
        if self.ignored:
            lines.append(f"ignored, no samples: {Ignored(self.ignored).says()}")
        return lines

    def names(self) -> list[str]:
        """The names of samples for a person: the uri, and the place in it."""
        return names_of(self.first)

    def fingerprints(self) -> list[str]:
        """32 bits of each sample's file name and size as hex: the same for a copy in another place."""
        columns = (strings_of(self.first["uri"]), self.first["member"].to_pylist(), self.first["size"].to_pylist())
        return [_fingerprint(uri, member, size) for uri, member, size in zip(*columns, strict=True)]


def names_of(table: pa.Table) -> list[str]:
    places = zip(strings_of(table["uri"]), table["member"].to_pylist(), strict=True)
    return [uri if member is None else f"{uri} {member}" for uri, member in places]


def _fingerprint(uri: str, member: str | None, size: int | None) -> str:
    key = f"{PurePosixPath(uri).name}\0{member or ''}\0{size}"
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()


def joined(sets: list[DataSet]) -> DataSet:
    if len({(tuple(each.roles), tuple(each.inline), tuple(each.constants.items())) for each in sets}) > 1:
        raise DataError("the data sets differ in their roles or in classes.json or calib.json; train on one of them")
    tables = {role: pa.concat_tables([each.roles[role] for each in sets]) for role in sets[0].roles}
    ignored: Counter[str] = sum((Counter(each.ignored) for each in sets), Counter[str]())
    inline = {role: pa.concat_arrays([each.inline[role] for each in sets]) for role in sets[0].inline}
    notes = tuple(dict.fromkeys(note for each in sets for note in each.notes))
    return replace(sets[0], roles=tables, ignored=dict(ignored), inline=inline, notes=notes)
