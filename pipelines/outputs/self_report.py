"""What an attempt publishes about itself while it runs: its events, its log, and how far the run is.

    _run/attempts/0007/events/000000.jsonl   its events, in numbered files that are created once and never changed
    _run/attempts/0007/log/000000.txt        its log, likewise; log.txt holds all of it once the attempt is over
    _run/status.json                         the status that the events add up to, replaced again and again; decides nothing

No result depends on these files.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

from pydantic import ValidationError

from pixelmill.pipelines.events import Event, Status, coalesced, parsed, to_line
from pixelmill.pipelines.outputs.claims import ATTEMPTS, Claim, ClaimedFolder
from pixelmill.pipelines.stores.folder import Folder

STATUS = "_run/status.json"
Kind = Literal["events", "log"]
ENDINGS: dict[Kind, str] = {"events": "jsonl", "log": "txt"}


class NumberedFiles:
    """A text that grows, written as numbered files of its attempt: each holds what was added since the last one."""

    def __init__(self, folder: Folder, claim: Claim, kind: Kind) -> None:
        # Where a store can't refuse, two claims may have one epoch for a moment.
        token = "" if claim.is_fenced else f"-{claim.token}"
        self._folder, self._place = folder, f"{claim.folder}/{kind}/{{:06d}}{token}.{ENDINGS[kind]}"
        self._text, self._count = "", 0

    def add(self, text: str) -> None:
        self._text += text

    def publish(self) -> None:
        """Write what was added since the last file; if that fails, the next call writes it."""
        if self._text:
            self._folder.create(self._place.format(self._count), self._text.encode())
            self._count, self._text = self._count + 1, ""


class SelfReport:
    """Publishes events, log and status of the attempt that holds `claim`. Every call may raise what the store raises."""

    def __init__(self, folder: Folder, claim: Claim) -> None:
        self._events, self._log = NumberedFiles(folder, claim, "events"), NumberedFiles(folder, claim, "log")
        self._claimed = ClaimedFolder(folder, claim)
        self._published: Status | None = None

    def add(self, events: list[Event], log: str) -> None:
        self._events.add("".join(f"{to_line(event)}\n" for event in coalesced(events)))
        self._log.add(log)

    def publish_texts(self) -> None:
        self._events.publish()
        self._log.publish()

    def publish_status(self, status: Status) -> None:
        """Raises ClaimLost, and writes nothing, when another attempt has taken over."""
        if status != self._published:
            self._claimed.publish(STATUS, status.model_dump_json(indent=1).encode())
            self._published = status


def read_status(folder: Folder) -> Status | None:
    """The last status that the run published; None where there is none, or where this version does not know its form."""
    with suppress(ValidationError):
        return Status.model_validate_json(folder.read(STATUS) or b"")
    return None


def read_events(folder: Folder, epoch: int) -> list[Event]:
    return parsed(_joined(folder, epoch, "events"))


def read_log(folder: Folder, epoch: int) -> str:
    return _joined(folder, epoch, "log")


def _joined(folder: Folder, epoch: int, kind: Kind) -> str:
    place = f"{ATTEMPTS}/{epoch:04d}/{kind}"
    return "".join((folder.read(f"{place}/{name}") or b"").decode() for name in folder.names(place))
