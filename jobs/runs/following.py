"""The log of a run from its folder, as far as it is published, and further while it grows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from pixelmill.pipelines.outputs.claims import ATTEMPTS, RECORD, standing
from pixelmill.pipelines.outputs.self_report import read_log
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.whole_files import MOST_TABLE_BYTES
from pixelmill.workers.errors import JobError

POLL_S = 1.0
WHOLE = "log.txt"


def log_of(folder: Folder, epoch: int) -> str:
    """The log of an attempt so far."""
    whole = folder.read(f"{ATTEMPTS}/{epoch:04d}/{WHOLE}", MOST_TABLE_BYTES)
    return whole.decode("utf-8", "replace") if whole is not None else read_log(folder, epoch)


def log(folder: Folder, epoch: int | None) -> str:
    """The log of an attempt, by default of the newest. Raises JobError where there is none."""
    newest = standing(folder).epoch
    chosen = newest if epoch is None else epoch
    if not 1 <= chosen <= newest:
        there = f"there are attempts 1 to {newest}" if newest else "none has begun"
        raise JobError(
            f"{folder.uri}: has no attempt {chosen}; {there}" if epoch else f"{folder.uri}: no attempt has begun"
        )
    return log_of(folder, chosen)


def followed(folder: Folder, wait: Callable[[float], None] = time.sleep) -> Iterator[str]:
    """What the newest attempt adds to its log, until it has ended; then that of the next one, if there is one by then."""
    epoch, printed = standing(folder).epoch, 0
    while True:
        now = standing(folder)
        if now.epoch > epoch:
            yield _rest(folder, epoch, printed)
            epoch, printed = now.epoch, 0
        has_ended = now.epoch > 0 and folder.exists(f"{now.folder}/{RECORD}")
        text = _rest(folder, epoch, printed) if epoch else ""
        printed += len(text)
        yield text
        if has_ended and not text:
            return
        if not has_ended:
            wait(POLL_S)


def _rest(folder: Folder, epoch: int, printed: int) -> str:
    return log_of(folder, epoch)[printed:] if epoch else ""
