"""A process that is killed at one of its writes to a folder: what it did before stays, and nothing of what follows happens."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pixelmill.pipelines.stores.folder import Folder


class Killed(BaseException):
    """The end of the process, which no `except Exception` survives."""


def die_at(step: int, monkeypatch: pytest.MonkeyPatch, *, is_written: bool) -> None:
    """Raise Killed at write number `step`, counted from 0 over all folders; `is_written` says whether it still took place."""
    count = 0

    def dying(original: Callable[..., object]) -> Callable[..., object]:
        def write(*arguments: object) -> object:
            nonlocal count
            number, count = count, count + 1
            written = original(*arguments) if number != step or is_written else None
            if number == step:
                raise Killed
            return written

        return write

    for name in ("publish", "create", "replace"):
        monkeypatch.setattr(Folder, name, dying(getattr(Folder, name)))
