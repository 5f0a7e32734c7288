"""Refuse to mix two jobs in one output."""

from __future__ import annotations

from collections.abc import Iterable

from pixelmill.pipelines.outputs.columns import DATA
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import RunRefused


def require_same(stored: dict[str, object], wanted: dict[str, object], folder: Folder) -> None:
    """RunRefused with what differs, unless both identities are equal."""
    differences = list(_differences("", stored, wanted))
    if differences:
        # Not taken over: whoever started it may be about to write its first part.
        nothing = "" if folder.names(DATA) else "; no row was made there yet, so the folder can be deleted as well"
        raise RunRefused(
            f"{folder.uri} holds a run of another job, and two are never mixed:\n"
            + "\n".join(f"  {path}: {was!r} there, {now!r} here" for path, was, now in differences)
            + f"\nchoose another output folder, or make the job as it was{nothing}"
        )


def _differences(path: str, was: object, now: object) -> Iterable[tuple[str, object, object]]:
    if isinstance(was, dict) and isinstance(now, dict):
        for key in sorted({*was, *now}):
            yield from _differences(f"{path}.{key}" if path else str(key), was.get(key), now.get(key))
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for index, (a, b) in enumerate(zip(was, now, strict=True)):
            yield from _differences(f"{path}.{index}", a, b)
    elif was != now:
        yield path, was, now
