"""Split a data set into samples to train on, to select the best step on, and to test it on. Folders `train`, `val`
and `test` (or files train*.parquet, ...) are the parts where they exist; `hold_out` takes validation from the training
samples where there is no part left for it. A step is never selected on the samples that its figures are reported on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

import numpy as np

from pixelmill.pipelines.stores.access import Access, join
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.folders import children
from pixelmill.pipelines.training.layouts.registry import find, stated_parts
from pixelmill.pipelines.training.patient_split import without_patients
from pixelmill.pipelines.training.protocol import TESTED, Protocol
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes import Role

PARTS: dict[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
TABLE_SUFFIXES = (".parquet", ".pq")


@dataclass(frozen=True)
class Split:
    """The samples of a training. `held_out` selects the best step, `test` is looked at once, at the end; `says`
    describes them, `has_own` says whether folders are the split."""

    train: DataSet
    held_out: DataSet | None
    test: DataSet | None
    says: str
    has_own: bool


def split(
    roles: Sequence[Role],
    uris: Sequence[str],
    validation: Sequence[str],
    hold_out: float,
    seed: int,
    access: Access,
    test: Sequence[str] | float = (),
    protocol: Protocol = TESTED,
) -> Split:
    """The samples to train on, to select the best step on, and to test it on.

    Places in `validation` and `test` come first, then folders `val` and `test` beside `train`. A single such folder is
    the test part, unless `test` names another. What selects the step is else taken from the training samples:
    `hold_out` is a share, drawn with `seed`, or from 1 on a number of samples, the last by name: one contiguous stretch
    of a video. `test` as a number takes a test part in the same way, before validation. Raises DataError where a part
    would be empty.
    """
    parts = [parts_for(roles, uri, access) for uri in uris]
    _require_train(uris, parts)
    train = find(roles, [part.get("train", uri) for part, uri in zip(parts, uris, strict=True)], access)
    if protocol == 1:
        return _on_one_part(roles, train, parts, validation, hold_out, seed, access)
    own = {name: [part[name] for part in parts if name in part] for name in ("val", "test")}
    named = {
        "val": [held_out_part(roles, uri, access, "val") for uri in validation],
        "test": [] if isinstance(test, int | float) else [held_out_part(roles, uri, access) for uri in test],
    }
    chosen = _chosen(own, named)
    found = {name: find(roles, places, access, train.classes) for name, places in chosen.items() if places}
    tested, selecting, says = found.get("test"), found.get("val"), list[str]()
    if tested is not None:
        says = [f"tested on {_called(chosen['test'], named['test'])}"]
    elif isinstance(test, int | float) and test:
        train, tested, said = _without_some(train, test, seed, "test")
        says = [f"tested on {said}"]
    if selecting is not None:
        says.insert(0, f"the step is selected on {_called(chosen['val'], named['val'])}")
    elif hold_out:
        train, selecting, said = _without_some(train, hold_out, seed, "hold_out")
        says.insert(0, f"the step is selected on {said}")
    return Split(train, selecting, tested, "; ".join(says) or "nothing is held out", bool(found))


def _require_train(uris: Sequence[str], parts: Sequence[dict[str, str]]) -> None:
    for uri, part in zip(uris, parts, strict=True):
        if part and "train" not in part:
            raise DataError(
                f"{scrub(uri)}: has {' and '.join(PurePosixPath(place).name for place in part.values())} and no train; "
                "name what is to be trained on train, or give data and validation each by its own path"
            )


def _chosen(own: dict[str, list[str]], named: dict[str, list[str]]) -> dict[str, list[str]]:
    """The places of validation and test: those that are named, else the data set's own; a single own part tests."""
    val, test = named["val"] or own["val"], named["test"] or own["test"]
    if not test:
        val, test = named["val"], own["val"]
    if not named["test"] and set(test) <= set(val):
        test = []  # named as validation: it can't test as well
    return {"val": val, "test": test}


def _called(places: Sequence[str], named: Sequence[str]) -> str:
    return "data of its own" if named else ", ".join(sorted({PurePosixPath(place).name for place in places}))


def _without_some(whole: DataSet, held: float, seed: int, key: str) -> tuple[DataSet, DataSet, str]:
    """The samples without some, those, and how those were chosen."""
    if whole.slices is not None:
        return without_patients(whole, whole.slices, held, seed, key)
    count = max(1, round(len(whole) * held)) if held < 1 else int(held)
    kept, out = _divided(len(whole), count, _order(whole, held, seed), f"{key} {held:g}")
    how = f"drawn with seed {seed}" if held < 1 else "the last by name"
    return whole.take(kept), whole.take(out), f"{count:,} of {len(whole):,} training samples, {how}"


def _order(whole: DataSet, held: float, seed: int) -> np.ndarray:
    if held < 1:
        return np.random.default_rng(seed).permutation(len(whole))
    return np.argsort(np.array(whole.names()), kind="stable")


def _divided(samples: int, count: int, order: np.ndarray, asked: str) -> tuple[np.ndarray, np.ndarray]:
    if not 0 < count < samples:
        raise DataError(f"{asked} of {samples:,} samples leaves nothing on one side; choose another")
    return np.sort(order[: samples - count]), np.sort(order[samples - count :])


def _on_one_part(
    roles: Sequence[Role],
    train: DataSet,
    parts: Sequence[dict[str, str]],
    validation: Sequence[str],
    hold_out: float,
    seed: int,
    access: Access,
) -> Split:
    """The split of a training that began under protocol 1: what selects the step is what its figures are of."""
    if validation:
        held_out = find(roles, [held_out_part(roles, uri, access, "val") for uri in validation], access, train.classes)
        return Split(train, held_out, None, "data of its own is held out", True)
    held = [part.get("val", part.get("test", "")) for part in parts if len(part) > 1]
    if held:
        names = ", ".join(sorted({PurePosixPath(uri).name for uri in held}))
        found = find(roles, held, access, train.classes)
        return Split(train, found, None, f"trained on train, judged on {names}", True)
    if hold_out == 0:
        return Split(train, None, None, "nothing is held out", False)
    count = round(len(train) * hold_out) if hold_out < 1 else int(hold_out)
    kept, out = _divided(len(train), count, _order(train, hold_out, seed), f"hold_out {hold_out:g}")
    if hold_out < 1:
        says = f"{count:,} of {len(train):,} samples, drawn with seed {seed}, are held out"
    else:
        says = f"the last {count:,} of {len(train):,} samples by name are held out"
    return Split(train.take(kept), train.take(out), None, says, False)


def held_out_part(roles: Sequence[Role], uri: str, access: Access, first: Literal["val", "test"] = "test") -> str:
    """The part of a data set that is not for training, `first` where there are two; all of it where it has no parts."""
    parts = parts_for(roles, uri, access)
    return parts.get(first) or parts.get("val") or parts.get("test") or uri


def parts_for(roles: Sequence[Role], uri: str, access: Access) -> dict[str, str]:
    """The parts that the layout of the data states, such as lists of names; otherwise folders and tables."""
    return stated_parts(roles, uri, access) or parts_of(uri, access)


def parts_of(uri: str, access: Access) -> dict[str, str]:
    """The folders or tables `train`, `val` and `test` of a data set, by these names."""
    listed = children(uri, access)
    found: dict[str, str] = {}
    for role, names in PARTS.items():
        for name in names:
            if listed.get(name) == "directory":
                found.setdefault(role, join(uri, name))
                continue
            for suffix in TABLE_SUFFIXES:
                tables = [child for child in listed if re.fullmatch(rf"{name}([-_.\d].*)?{re.escape(suffix)}", child)]
                if len(tables) > 1 and f"{name}{suffix}" in tables:
                    raise DataError(
                        f"{scrub(uri)}: has {name}{suffix} and {len(tables) - 1} more tables of that name; "
                        f"call all of them {name}-*{suffix}, or keep one kind"
                    )
                if tables:
                    found.setdefault(role, join(uri, tables[0] if len(tables) == 1 else f"{name}[-_.0-9]*{suffix}"))
    return found
