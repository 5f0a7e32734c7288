"""Split a data set into samples to train on and samples to hold out. Folders `train` and `val` or `test` (or files
train*.parquet, ...) are the split where they exist. Other data sets are divided by `hold_out`. Samples that were
trained on are remembered by name and size, so that no evaluation uses them by accident.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from pixelmill.pipelines.stores.access import Access, join
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.folders import children
from pixelmill.pipelines.training.layouts.registry import find
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes import Role

TRAIN = ("train", "training")
HELD_OUT = ("val", "valid", "validation", "test", "testing")
TABLE_SUFFIXES = (".parquet", ".pq")


@dataclass(frozen=True)
class Split:
    """The samples to train on and to hold out; `says` describes them, `has_own` tells whether the folders are the
    split."""

    train: DataSet
    held_out: DataSet | None
    says: str
    has_own: bool


def split(
    roles: Sequence[Role], uris: Sequence[str], validation: Sequence[str], hold_out: float, seed: int, access: Access
) -> Split:
    """The samples to train on and to hold out.

    `validation` names the held-out data; otherwise folders `val` or `test` beside `train` do; otherwise `hold_out` is a
    share, drawn with `seed`, or from 1 on a number of samples, the last by name. Raises DataError where a part would be
    empty.
    """
    parts = [parts_of(uri, access) for uri in uris]
    for uri, part in zip(uris, parts, strict=True):
        if "held_out" in part and "train" not in part:
            raise DataError(
                f"{scrub(uri)}: has {PurePosixPath(part['held_out']).name} and no train; name what is to be trained on "
                "train, or give data and validation each by its own path"
            )
    train = find(roles, [part.get("train", uri) for part, uri in zip(parts, uris, strict=True)], access)
    if validation:
        held_out = find(roles, [held_out_part(uri, access) for uri in validation], access, train.classes)
        return Split(train, held_out, "data of its own is held out", True)
    held = [part["held_out"] for part in parts if "held_out" in part]
    if held:
        names = ", ".join(sorted({PurePosixPath(uri).name for uri in held}))
        return Split(train, find(roles, held, access, train.classes), f"trained on train, judged on {names}", True)
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
    roles: Sequence[Role],
    uris: Sequence[str],
    part: str,
    trained_on: frozenset[str],
    access: Access,
    classes: Sequence[str] | None = None,
) -> tuple[DataSet, str]:
    """The samples to evaluate a checkpoint on, and their description.

    `part` is auto (val or test where there is one, and nothing that was trained on), all, or the name of a folder.
    `classes` are the folders that it was trained on, in order.
    """
    if part not in {"auto", "all"}:
        return find(roles, [join(uri, part) for uri in uris], access, classes), part
    if part == "all":
        return find(roles, uris, access, classes), "everything there is"
    chosen = [held_out_part(uri, access) for uri in uris]
    found = find(roles, chosen, access, classes)
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
    return parts_of(uri, access).get("held_out", uri)


def parts_of(uri: str, access: Access) -> dict[str, str]:
    """The folders or tables `train` and `val` or `test` of a data set, by role."""
    listed = children(uri, access)
    found: dict[str, str] = {}
    for role, names in (("train", TRAIN), ("held_out", HELD_OUT)):
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
