"""Refuse to mix two jobs in one output."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from pixelmill.pipelines.outputs.columns import DATA
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import RunRefused


def require_same(stored: dict[str, object], wanted: dict[str, object], folder: Folder) -> None:
    """Raises RunRefused, naming the differences, unless both identities are equal."""
    differences = list(_differences("", stored, wanted))
    if differences:
        # An empty run is not taken over: its attempt may be about to write the first part.
        nothing = "" if folder.names(DATA) else "; no row was made there yet, so the folder can be deleted as well"
        raise RunRefused(
            f"{folder.uri} holds a run of another job, and two are never mixed:\n"
            + "\n".join(f"  {path}: {was!r} there, {now!r} here" for path, was, now in differences)
            + f"\nchoose another output folder, or make the job as it was{nothing}"
        )


def _differences(path: str, was: object, now: object) -> Iterable[tuple[str, object, object]]:
    if isinstance(was, dict) and isinstance(now, dict):
        there, here = cast("dict[str, object]", was), cast("dict[str, object]", now)
        if len(there) == len(here) == 1 and there.keys() != here.keys():
            yield (
                path,
                next(iter(there)),
                next(iter(here)),
            )  # stages of two kinds: their options have nothing in common
            return
        for key in sorted({*there, *here}):
            yield from _differences(f"{path}.{key}" if path else key, there.get(key), here.get(key))
    elif isinstance(was, list) and isinstance(now, list):
        before, after = cast("list[object]", was), cast("list[object]", now)
        if len(before) != len(after):
            yield path, _kinds(before), _kinds(after)
            return
        for index, pair in enumerate(zip(before, after, strict=True)):
            yield from _differences(f"{path}.{index}", *pair)
    elif was != now:
        yield path, was, now


def _kinds(items: list[object]) -> list[object]:
    """A list in the form in which people compare it: each stage, `{KIND: its options}`, under its kind."""
    return [next(iter(cast("dict[str, object]", item))) if isinstance(item, dict) and item else item for item in items]
