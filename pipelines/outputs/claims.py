"""Claim a run before anything is written, show that the holder is alive, and find out whether it still holds.

    _run/attempts/0007/claim.json   who holds the run; created once, and its number is the epoch
    _run/attempts/0007/beat.json    written again and again while the holder lives
    _run/attempts/0007/stop.json    written to ask the holder to end; the holder checks for it at each beat
    _run/attempts/0007/record.json  written when the attempt is over, whatever its end
    _run/attempts/0007/again.json   written then by a supervisor that will begin another attempt after a pause

The highest epoch holds the run. An attempt that ended, or whose process has provably ended, is taken over at once; any
other once its beat has not changed for LEASE_S by the observer's own clock. Clocks of two machines are never compared.

Where the store does not refuse to overwrite (`Folder.is_fenced`), a claim is a file of its own,
`claim-TOKEN.json`, and the lowest token of an epoch wins once SETTLE_S have passed, which is longer than most writes take.
Every writer checks its claim again before it writes. That bounds how much is done twice, and is weaker than a fence: a
write after its last check may land late, and the next run of the command repairs it (pipelines/outputs/repair.py).
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.json_files import mapping_in
from pixelmill.workers.errors import ClaimLost, RunHeld

ATTEMPTS = "_run/attempts"
RECORD, BEAT, STOP, AGAIN = "record.json", "beat.json", "stop.json", "again.json"
OLD_LOCK = "_run/lock.json"
LEASE_S = 45.0
BEAT_S = 5.0
SETTLE_S = 5.0
POLL_S = 1.0
_CLAIM = re.compile(r"claim(-[0-9a-f]{32})?\.json")

Holder = dict[str, Any]
"""The process that made a claim: host, pid, what it does, and the identity by which its end can be proved."""


class Clock(Protocol):
    """Time as one process sees it."""

    def monotonic(self) -> float: ...

    def wait(self, seconds: float) -> None: ...


@dataclass(frozen=True)
class Claim:
    """One attempt's hold on a run; plain data, so that workers can check whether it still holds."""

    epoch: int
    token: str
    is_fenced: bool

    @property
    def folder(self) -> str:
        return f"{ATTEMPTS}/{self.epoch:04d}"

    @property
    def file(self) -> str:
        return f"{self.folder}/claim.json" if self.is_fenced else f"{self.folder}/claim-{self.token}.json"

    @property
    def writer(self) -> str:
        """The prefix of the names of files that only this attempt writes."""
        return f"{self.epoch:04d}-{self.token[:8]}"


@dataclass(frozen=True)
class Standing:
    """The newest attempt according to its files; epoch 0 where there is none."""

    epoch: int
    names: frozenset[str]

    @property
    def folder(self) -> str:
        return f"{ATTEMPTS}/{self.epoch:04d}"

    @property
    def claims(self) -> list[str]:
        return sorted(name for name in self.names if _CLAIM.fullmatch(name))

    @property
    def has_ended(self) -> bool:
        return RECORD in self.names


def standing(folder: Folder) -> Standing:
    """Find who holds the run now."""
    numbers = [int(name) for name in folder.folders(ATTEMPTS) if name.isdecimal()]
    old = [int(name[:4]) for name in folder.names(ATTEMPTS) if re.fullmatch(r"\d{4}\.json", name)]
    epoch = max([0, *numbers, *old])
    if epoch not in numbers:
        return Standing(epoch, frozenset({RECORD} if epoch else ()))
    return Standing(epoch, frozenset(folder.names(f"{ATTEMPTS}/{epoch:04d}")))


def take(
    folder: Folder,
    holder: Holder,
    *,
    is_gone: Callable[[Holder], bool],
    clock: Clock,
    say: Callable[[str], None] = lambda _: None,
) -> Claim:
    """Claim the run for `holder`, once its earlier holder has ended or is taken for dead. Raises RunHeld while a holder is
    alive: the earlier one, or one that claims the run first."""
    _wait_for_old_lock(folder, clock, say)
    while True:
        now = standing(folder)
        if now.epoch and not now.has_ended:
            _wait_for_silence(folder, now, is_gone, clock, say)
        claim = Claim(now.epoch + 1, uuid.uuid4().hex, folder.is_fenced)
        written = folder.create(claim.file, json.dumps({**holder, "token": claim.token}).encode())
        # On a disk the folder of an epoch exists a moment before its claim, and another attempt may have passed it.
        if written and standing(folder).epoch == claim.epoch:
            return claim


def _wait_for_silence(
    folder: Folder, held: Standing, is_gone: Callable[[Holder], bool], clock: Clock, say: Callable[[str], None]
) -> None:
    """Return once the holder has ended, has provably died, or has not beaten for a lease. Raises RunHeld when it beats."""
    holders = [mapping_in(folder.read(f"{held.folder}/{name}")) for name in held.claims]
    if all(is_gone(holder) for holder in holders):
        return
    who = _name(next((each for each in holders if each), Holder()))
    until, said, seen = clock.monotonic() + LEASE_S, False, _signs(folder, held)
    while clock.monotonic() < until:
        clock.wait(POLL_S)
        found = _signs(folder, held)
        if RECORD in found[0] or standing(folder).epoch > held.epoch:
            return
        if found != seen:
            raise RunHeld(f"{folder.uri} is being written by {who}; wait for it, or stop it and run this again")
        if not said:
            say(f"waiting up to {LEASE_S:g} s for a sign of life of {who}, which holds {folder.uri}")
            said = True


def _signs(folder: Folder, held: Standing) -> tuple[frozenset[str], bytes | None]:
    return frozenset(folder.names(held.folder)), folder.read(f"{held.folder}/{BEAT}")


def _wait_for_old_lock(folder: Folder, clock: Clock, say: Callable[[str], None]) -> None:
    """Wait for the lock of versions without claims: one file that they rewrote every 10 s."""
    seen = folder.read(OLD_LOCK)
    if seen is None or mapping_in(seen).get("released", True) or folder.folders(ATTEMPTS):
        return
    until, who = clock.monotonic() + LEASE_S, _name(mapping_in(seen))
    say(f"waiting up to {LEASE_S:g} s for a sign of life of {who}, which holds {folder.uri}")
    while clock.monotonic() < until:
        clock.wait(POLL_S)
        found = folder.read(OLD_LOCK)
        if found is None or mapping_in(found).get("released", True):
            return
        if found != seen:
            raise RunHeld(f"{folder.uri} is being written by {who}; wait for it, or stop it and run this again")


def _name(holder: Holder) -> str:
    return f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"


def holds(folder: Folder, claim: Claim) -> bool:
    """Whether this claim is the newest, and, where a store has no fence, the lowest of its epoch."""
    now = standing(folder)
    if now.epoch != claim.epoch:
        return False
    return claim.is_fenced or now.claims[:1] == [claim.file.rpartition("/")[2]]


def require(folder: Folder, claim: Claim) -> None:
    """Raises ClaimLost, in the user's words, unless the claim still holds."""
    if not holds(folder, claim):
        raise lost(folder, claim)


def lost(folder: Folder, claim: Claim) -> ClaimLost:
    """The error that names the holder that replaced this claim."""
    now = standing(folder).epoch
    who = "another attempt that began in the same moment" if now == claim.epoch else f"attempt {now}"
    return ClaimLost(
        f"{folder.uri}: {who} has taken over since this process was last seen alive (suspended, cut off, or "
        "started at the same moment); it stops here, and what the other makes stays"
    )


class ClaimedFolder(Folder):
    """A folder that this attempt may write only while its claim holds: for files that are replaced."""

    def __init__(self, folder: Folder, claim: Claim) -> None:
        super().__init__(folder.uri, folder.access, is_fenced=claim.is_fenced)
        self._claim = claim

    def publish(self, name: str, data: bytes) -> None:
        """As `Folder.publish`. Raises ClaimLost, and writes nothing, where another attempt has taken over."""
        tag = self.tag(name)
        require(self, self._claim)  # after the check: an attempt that takes over from here on changes the tag
        if not (self.create(name, data) if tag is None else self.replace(name, data, tag)):
            require(self, self._claim)


def ended_well(folder: Folder, epoch: int) -> bool:
    """Whether the newest attempt left nothing to repair: it was complete, or there was none."""
    if epoch < 1:
        return True
    found = mapping_in(folder.read(f"{ATTEMPTS}/{epoch:04d}/{RECORD}") or folder.read(f"{ATTEMPTS}/{epoch:04d}.json"))
    return found.get("ended") == "complete"


def may_wake(folder: Folder, claim: Claim, since: int, is_gone: Callable[[Holder], bool]) -> bool:
    """Whether an attempt from epoch `since` up to this claim neither ended nor provably died."""
    for epoch in range(max(1, since), claim.epoch):
        names = folder.names(f"{ATTEMPTS}/{epoch:04d}")
        held = Standing(epoch, frozenset(names))
        if held.claims and not held.has_ended:
            holders = [mapping_in(folder.read(f"{held.folder}/{name}")) for name in held.claims]
            if not all(is_gone(holder) for holder in holders):
                return True
    return False
