"""Find the samples of a data set on any store: which files belong together, and which of them are held out.

    pictures   any source of pictures (folder, glob, tar, Parquet with a column `label` or without)
    classes    the same with labels: the column, or else the first folder below the data set: cats/2019/1.jpg is a cat
    masks      images/NAME.*, labels/NAME.png, classes.json here or one folder up
    stereo     left/NAME.*, right/NAME.*, depth/NAME.png where there is one, calib.json here or one folder up

Each may lie below folders `train` and `val` or `test` (or files train*.parquet, ...), which then are the split. A data set
that has none is divided by `hold_out`, and what was trained on is remembered by name and size, so that nothing is ever
evaluated on it by accident.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.inputs.fetch import Fetcher, FetchLimits, single
from pixelmill.pipelines.inputs.names import is_hidden, is_local
from pixelmill.pipelines.inputs.sources import Entry, Ignored, Source, entries, folder_of
from pixelmill.pipelines.outputs.manifest import SCHEMA, table_of
from pixelmill.pipelines.stores.access import Access, join, open_store
from pixelmill.pipelines.stores.explain import explain
from pixelmill.pipelines.stores.retries import retried
from pixelmill.pipelines.stores.tables import Parquet, integers_of, open_parquet
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import DataError, PixelmillError, RowError
from pixelmill.workers.recipes import Layout, Recipe, Sample

TRAIN = ("train", "training")
HELD_OUT = ("val", "valid", "validation", "test", "testing")
TABLE_SUFFIXES = (".parquet", ".pq")
LABEL = "label"
CLASSES = "classes"


@dataclass(frozen=True)
class DataSet:
    """Samples that are found and not read yet: for each role a table of where its bytes are, one row a sample."""

    roles: dict[str, pa.Table]
    access: Access
    labels: np.ndarray | None = None
    constants: dict[str, bytes] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    ignored: dict[str, int] = field(default_factory=dict)
    """Files that lie there and are no samples, by suffix or kind."""

    def __len__(self) -> int:
        return self.first.num_rows

    @property
    def first(self) -> pa.Table:
        """The role that every sample has and is named by."""
        return next(iter(self.roles.values()))

    @property
    def is_contained(self) -> bool:
        """Whether samples lie in tables or archives, of which neighbours are read together."""
        return self.first["container"].null_count < len(self)

    @property
    def classes(self) -> list[str] | None:
        """The names of the folders that are labels; None where none are."""
        return json.loads(self.constants[CLASSES]) if self.labels is not None and CLASSES in self.constants else None

    def take(self, indices: Sequence[int] | np.ndarray) -> DataSet:
        rows = pa.array(np.asarray(indices, np.int64), pa.int64())
        labels = None if self.labels is None else self.labels[np.asarray(indices, np.int64)]
        return replace(self, roles={role: table.take(rows) for role, table in self.roles.items()}, labels=labels)

    def says(self) -> list[str]:
        """Lines for a person: what the classes are where folders are, and what was not read."""
        lines = []
        if (names := self.classes) is not None and self.labels is not None:
            counts = np.bincount(self.labels, minlength=len(names))
            shown = [f"{name} ({count:,})" for name, count in zip(names, counts, strict=True)]
            more = f", and {len(shown) - 12:,} more" if len(shown) > 12 else ""
            lines.append(f"{len(self):,} pictures of {len(names):,} classes: {', '.join(shown[:12])}{more}")
        if self.ignored:
            lines.append(f"ignored, no samples: {Ignored(self.ignored).says()}")
        return lines

    def names(self) -> list[str]:
        """What a person calls each sample: its uri, and its place in it."""
        return _names(self.first)

    def fingerprints(self) -> list[str]:
        """32 bits of each sample's file name and size as hex: the same for a copy in another place."""
        columns = (strings_of(self.first["uri"]), self.first["member"].to_pylist(), self.first["size"].to_pylist())
        return [_fingerprint(uri, member, size) for uri, member, size in zip(*columns, strict=True)]


def _names(table: pa.Table) -> list[str]:
    places = zip(strings_of(table["uri"]), table["member"].to_pylist(), strict=True)
    return [uri if member is None else f"{uri} {member}" for uri, member in places]


def _fingerprint(uri: str, member: str | None, size: int | None) -> str:
    key = f"{PurePosixPath(uri).name}\0{member or ''}\0{size}"
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()


# ---------------------------------------------------------------------------------------------------------- splits


@dataclass(frozen=True)
class Split:
    """What to train on and what to hold out; `says` it in words, `has_own` tells whether the folders said so."""

    train: DataSet
    held_out: DataSet | None
    says: str
    has_own: bool


def split(
    layout: Layout, uris: Sequence[str], validation: Sequence[str], hold_out: float, seed: int, access: Access
) -> Split:
    """The samples to train on and to hold out.

    `validation` names the held-out data; else folders `val` or `test` beside `train` do; else `hold_out` is a share,
    drawn with `seed`, or from 1 on so many samples, the last by name. DataError where a part would be empty.
    """
    parts = [_parts(uri, access) for uri in uris]
    for uri, part in zip(uris, parts, strict=True):
        if "held_out" in part and "train" not in part:
            raise DataError(
                f"{scrub(uri)}: has {PurePosixPath(part['held_out']).name} and no train; name what is to be trained on "
                "train, or give data and validation each by its own path"
            )
    train = find(layout, [part.get("train", uri) for part, uri in zip(parts, uris, strict=True)], access)
    if validation:
        held_out = find(layout, [held_out_part(uri, access) for uri in validation], access, train.classes)
        return Split(train, held_out, "data of its own is held out", True)
    held = [part["held_out"] for part in parts if "held_out" in part]
    if held:
        names = ", ".join(sorted({PurePosixPath(uri).name for uri in held}))
        return Split(train, find(layout, held, access, train.classes), f"trained on train, judged on {names}", True)
    if hold_out == 0:
        return Split(train, None, "nothing is held out", False)
    return _divided(train, hold_out, seed)


def _divided(whole: DataSet, hold_out: float, seed: int) -> Split:
    count = round(len(whole) * hold_out) if hold_out < 1 else int(hold_out)
    if not 0 < count < len(whole):
        raise DataError(f"hold_out {hold_out:g} of {len(whole):,} samples leaves nothing on one side; choose another")
    if hold_out < 1:
        order = np.random.default_rng(seed).permutation(len(whole))
        says = f"{count:,} of {len(whole):,} samples, drawn with seed {seed}, are held out"
    else:
        order = np.argsort(np.array(whole.names()), kind="stable")
        says = f"the last {count:,} of {len(whole):,} samples by name are held out"
    kept, held = np.sort(order[: len(whole) - count]), np.sort(order[len(whole) - count :])
    return Split(whole.take(kept), whole.take(held), says, False)


def to_evaluate(
    layout: Layout,
    uris: Sequence[str],
    part: str,
    trained_on: frozenset[str],
    access: Access,
    classes: Sequence[str] | None = None,
) -> tuple[DataSet, str]:
    """What a checkpoint is judged on, and that in words.

    `part` is auto (val or test where there is one, and nothing that was trained on), all, or the name of a folder.
    `classes` are the folders that it was trained on, in order.
    """
    if part not in {"auto", "all"}:
        return find(layout, [join(uri, part) for uri in uris], access, classes), part
    if part == "all":
        return find(layout, uris, access, classes), "everything there is"
    chosen = [held_out_part(uri, access) for uri in uris]
    found = find(layout, chosen, access, classes)
    unseen = [index for index, mark in enumerate(found.fingerprints()) if mark not in trained_on]
    if not unseen:
        raise DataError(
            f"{', '.join(map(scrub, uris))}: the checkpoint was trained on every sample there; give other data, or "
            "--split all to judge it on those all the same"
        )
    names = sorted({PurePosixPath(uri).name for uri in chosen} - {PurePosixPath(uri).name for uri in uris})
    where = f"in {', '.join(names)}" if names else "there"
    left_out = len(found) - len(unseen)
    says = f"{len(unseen):,} samples {where}" + (f", without {left_out:,} that were trained on" if left_out else "")
    return found.take(unseen), says


def held_out_part(uri: str, access: Access) -> str:
    """The part of a data set that is not for training; all of it where it has no parts."""
    return _parts(uri, access).get("held_out", uri)


def _parts(uri: str, access: Access) -> dict[str, str]:
    """Where the folders or tables `train` and `val` or `test` of a data set are, by role."""
    children = _children(uri, access)
    found: dict[str, str] = {}
    for role, names in (("train", TRAIN), ("held_out", HELD_OUT)):
        for name in names:
            if children.get(name) == "directory":
                found.setdefault(role, join(uri, name))
                continue
            for suffix in TABLE_SUFFIXES:
                tables = [child for child in children if re.fullmatch(rf"{name}([-_.\d].*)?{re.escape(suffix)}", child)]
                if len(tables) > 1 and f"{name}{suffix}" in tables:
                    raise DataError(
                        f"{scrub(uri)}: has {name}{suffix} and {len(tables) - 1} more tables of that name; "
                        f"call all of them {name}-*{suffix}, or keep one kind"
                    )
                if tables:
                    found.setdefault(role, join(uri, tables[0] if len(tables) == 1 else f"{name}[-_.0-9]*{suffix}"))
    return found


def _children(uri: str, access: Access) -> dict[str, str]:
    """Names in a folder with what they are, without hidden ones; none where it is a file or a glob."""
    store, path = open_store(uri, access)
    try:
        listed = retried(lambda: store.ls(path, detail=True), for_s=min(30.0, access.retry_for_s))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except Exception as error:
        raise explain(error, uri, "listing the data") from error
    kinds = {PurePosixPath(entry["name"].rstrip("/")).name: _kind(uri, entry) for entry in listed}
    return {name: kind for name, kind in kinds.items() if not is_hidden(name)}


def _kind(uri: str, entry: dict[str, Any]) -> str:
    """What an entry of a folder is: fsspec calls a link to a local folder neither file nor folder."""
    return "directory" if is_local(uri) and os.path.isdir(entry["name"]) else entry["type"]


# --------------------------------------------------------------------------------------------------------- layouts


def find(layout: Layout, uris: Sequence[str], access: Access, classes: Sequence[str] | None = None) -> DataSet:
    """The samples below `uris`, in a fixed order. DataError where there are none or where files do not pair.

    Folders that are labels are numbered by their place in `classes`, or in the order of their names.
    """
    if layout == "pictures":
        return _pictures(uris, access, is_labelled=False)
    if layout == "classes":
        found = _pictures(uris, access, is_labelled=True)
        return found if found.labels is not None else _by_folder(found, uris, classes)
    found = [(_masks if layout == "masks" else _stereo)(uri, access) for uri in uris]
    return found[0] if len(found) == 1 else _joined(found)


def _joined(sets: list[DataSet]) -> DataSet:
    if len({(tuple(each.roles), tuple(each.constants.items())) for each in sets}) > 1:
        raise DataError("the data sets differ in their roles or in classes.json or calib.json; train on one of them")
    tables = {role: pa.concat_tables([each.roles[role] for each in sets]) for role in sets[0].roles}
    ignored: Counter[str] = sum((Counter(each.ignored) for each in sets), Counter())
    return replace(sets[0], roles=tables, ignored=dict(ignored))


def _pictures(uris: Sequence[str], access: Access, *, is_labelled: bool) -> DataSet:
    ignored = Ignored()
    table = _listed(Source(tuple(uris), access=access), ignored)
    if table.num_rows == 0:
        raise DataError(f"{', '.join(map(scrub, uris))}: no pictures are there; give a folder, a glob, tars or Parquet")
    labels = _labels(table, access, is_needed=is_labelled)
    return DataSet({"image": table}, access, labels=labels, ignored=ignored.by_suffix)


def _by_folder(found: DataSet, uris: Sequence[str], classes: Sequence[str] | None) -> DataSet:
    """The pictures labelled with the number of their folder; every sample is given the folders' names."""
    where = ", ".join(map(scrub, uris))
    folders = _class_folders(strings_of(found.first["uri"]), uris, classes, found.access)
    names = sorted(set(folders)) if classes is None else list(classes)
    if strangers := sorted(set(folders) - set(names)):
        raise DataError(
            f"{where}: the folder {strangers[0]} is a class that was not trained on; there are {', '.join(names[:12])}"
        )
    if len(names) < 2:
        raise DataError(f"{where}: has no labels; put pictures into a folder for each class")
    labels = np.array([names.index(folder) for folder in folders], np.int64)
    return replace(found, labels=labels, constants={CLASSES: json.dumps(names).encode()})


def _class_folders(
    pictures: Sequence[str], uris: Sequence[str], classes: Sequence[str] | None, access: Access
) -> list[str]:
    """The folder that says each picture's class: the first below the folder in which all pictures of a uri lie.

    Where the classes are known it is the first that has their names.
    """
    bases = sorted({folder_of(uri, access) for uri in uris}, key=len, reverse=True)
    base_of = [next((base for base in bases if f"{picture}/".startswith(f"{base}/")), "") for picture in pictures]
    folders: dict[str, str] = {}
    for base in set(base_of):
        below = {
            p: p[len(base) :].strip("/").split("/")[:-1] for p, b in zip(pictures, base_of, strict=True) if b == base
        }
        depth = _class_depth(base, list(below.values()), classes)
        path = [base.rpartition("/")[2]]
        folders |= {picture: [*path, *parts][depth] for picture, parts in below.items()}
    return [folders[picture] for picture in pictures]


def _class_depth(base: str, folders: list[list[str]], classes: Sequence[str] | None) -> int:
    """How far down the folder that is a picture's class lies: 0 is the base itself. DataError where that differs."""
    least = min(map(len, folders), default=0)
    if classes is not None:
        for depth in range(1, least + 1):
            if {parts[depth - 1] for parts in folders} <= set(classes):
                return depth
    levels = zip(*folders, strict=False)  # as deep as all of them go
    shared = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))
    if shared < least:
        return shared + 1
    if any(len(parts) > least for parts in folders):
        there = "/".join([base.rpartition("/")[2], *folders[0][:shared]])
        raise DataError(
            f"{scrub(base)}: pictures lie in {there} itself, beside folders that could be classes; "
            "put all of them into a folder for each class"
        )
    return shared


def _listed(source: Source, ignored: Ignored) -> pa.Table:
    try:
        found = sorted(entries(source, ignored), key=lambda entry: (entry.uri, entry.offset or 0))
    except PixelmillError:
        raise
    except Exception as error:
        raise explain(error, ", ".join(source.uris), "listing the data") from error
    broken = next((entry for entry in found if entry.problem), None)
    if broken is not None:
        raise DataError(f"{scrub(broken.uri)}: {broken.problem}")
    return table_of(found) if found else SCHEMA.empty_table()


def _labels(table: pa.Table, access: Access, *, is_needed: bool) -> np.ndarray | None:
    """The column `label` of the tables, where all of them have one with integers; DataError where one is needed."""
    if set(table["container"].to_pylist()) != {"parquet"}:
        return None
    columns = []
    for uri in dict.fromkeys(strings_of(table["uri"])):
        store, path = open_store(uri, access)
        with store.open(path, "rb") as file, open_parquet(file) as parquet:
            if LABEL not in parquet.schema_arrow.names:
                return None
            column = _label_column(parquet)
        if isinstance(column, str):
            if is_needed:
                raise DataError(f"{scrub(uri)}: {column}; write each row's class as an integer from 0 on")
            return None
        columns.append(column)
    return np.concatenate(columns).astype(np.int64)


def _label_column(parquet: Parquet) -> np.ndarray | str:
    """The labels of a table, or why they can't be had."""
    kind = parquet.schema_arrow.field(LABEL).type
    if not pa.types.is_integer(kind):
        return f"column {LABEL} holds {kind}, not integers"
    column = integers_of(parquet, LABEL)
    return _problem(column) or column.to_numpy()


def _problem(column: pa.ChunkedArray) -> str | None:
    """Why labels can't be had from a column."""
    values = column.to_pylist() if column.null_count else column.to_numpy()
    bad = next((row for row, value in enumerate(values) if value is None or value < 0), None)
    return None if bad is None else f"row {bad} of column {LABEL} is {'null' if values[bad] is None else values[bad]}"


def _masks(uri: str, access: Access) -> DataSet:
    ignored = Ignored()
    tables = _paired(uri, {"image": "images", "label": "labels"}, access, ignored)
    constants = _constant(uri, "classes", "classes.json", access)
    return DataSet(tables, access, constants=constants, ignored=ignored.by_suffix)


def _stereo(uri: str, access: Access) -> DataSet:
    has_depth = "depth" in _children(uri, access)
    roles = {"left": "left", "right": "right"} | ({"depth": "depth"} if has_depth else {})
    constants = _constant(uri, "calibration", "calib.json", access)
    ignored = Ignored()
    tables = _paired(uri, roles, access, ignored)
    return DataSet(tables, access, constants=constants, ignored=ignored.by_suffix)


def _paired(uri: str, roles: dict[str, str], access: Access, ignored: Ignored) -> dict[str, pa.Table]:
    """One row a name that every role's folder has a file for; DataError where one has a file that another lacks."""
    children = _children(uri, access)
    if missing := [folder for folder in roles.values() if folder not in children]:
        there = ", ".join(sorted(children)[:8]) or "nothing"
        raise DataError(f"{scrub(uri)}: has no folder {' or '.join(missing)}; it holds {there}")
    by_role = {role: _by_stem(join(uri, folder), access, ignored) for role, folder in roles.items()}
    stems = sorted(set().union(*by_role.values()))
    if not stems:
        raise DataError(f"{scrub(uri)}: no pictures are in {', '.join(roles.values())}")
    lacking = [(stem, role) for stem in stems for role in roles if stem not in by_role[role]]
    if lacking:
        stem, role = lacking[0]
        raise DataError(
            f"{scrub(uri)}: {stem} has no file in {roles[role]}, and {len(lacking) - 1:,} more do not pair; "
            "each name needs one in every folder"
        )
    return {role: table_of([files[stem] for stem in stems]) for role, files in by_role.items()}


def _by_stem(uri: str, access: Access, ignored: Ignored) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for entry in entries(Source((uri,), format="images", access=access), ignored):
        first = found.setdefault(PurePosixPath(entry.uri).stem, entry)
        if first is not entry:
            raise DataError(f"{scrub(entry.uri)}: {scrub(first.uri)} has the same name; keep one of them")
    return found


def _constant(uri: str, role: str, name: str, access: Access) -> dict[str, bytes]:
    """A file that belongs to every sample, here or one folder up."""
    for folder in (uri.rstrip("/"), uri.rstrip("/").rpartition("/")[0]):
        store, path = open_store(join(folder, name), access)
        try:
            return {role: bytes(retried(lambda s=store, p=path: s.cat_file(p), for_s=access.retry_for_s))}
        except (FileNotFoundError, NotADirectoryError):
            continue
        except Exception as error:
            raise explain(error, join(folder, name), "reading it") from error
    return {}


# --------------------------------------------------------------------------------------------------------- reading

_LIMITS = FetchLimits()


def load(samples: DataSet, recipe: Recipe) -> list[Sample]:
    """Read and decode every sample, in order; DataError with the name of one that can't be used.

    They are read as they lie, so that each part of a table or an archive is read once.
    """
    first = samples.first
    offsets = np.nan_to_num(first["offset"].to_numpy())  # nulls, of whole files, come as NaN
    as_they_lie = np.lexsort((offsets, np.array(strings_of(first["uri"]))))
    loaded = _load(samples.take(as_they_lie), recipe)
    return [loaded[place] for place in np.argsort(as_they_lie)]


def _load(samples: DataSet, recipe: Recipe) -> list[Sample]:
    streams = {role: _bytes_of(table, samples.access) for role, table in samples.roles.items()}
    loaded = []
    for index, name in enumerate(samples.names()):
        files: dict[str, Any] = dict(samples.constants)
        for role, stream in streams.items():
            data = next(stream)
            if isinstance(data, RowError):
                raise DataError(f"{scrub(_names(samples.roles[role])[index])}: {data}")
            files[role] = data
        if samples.labels is not None:
            files[LABEL] = str(samples.labels[index]).encode()
        try:
            loaded.append(recipe.decode(files))
        except PixelmillError as error:
            raise DataError(f"{scrub(name)}: {error}") from error
    return loaded


def _bytes_of(table: pa.Table, access: Access) -> Any:
    return Fetcher(access, _LIMITS, None, then=single).stream(table)
