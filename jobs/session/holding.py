"""Hold a run while this process works on it: claim it, show that it lives, and stop when another attempt has taken over."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pixelmill.jobs.host.process import ProcessIdentity
from pixelmill.pipelines.outputs import claims
from pixelmill.pipelines.outputs.claims import BEAT, BEAT_S, RECORD, SETTLE_S, Claim, Holder
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import ClaimLost, RunRefused


class SystemClock:
    """The clock of this process."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)


def is_gone(holder: Holder) -> bool:
    """Whether the process that made a claim has ended, beyond doubt."""
    try:
        return ProcessIdentity.from_json(holder).is_provably_gone()
    except ValueError:
        return False


class Holding:
    """`with Holding(folder, "run") as held:` RunRefused while another process that lives holds the folder."""

    def __init__(self, folder: Folder, doing: str, say: Callable[[str], None] = lambda _: None) -> None:
        self._folder, self._doing, self._say = folder, doing, say
        brief = replace(folder.access, timeout_s=min(BEAT_S, folder.access.timeout_s), retry_for_s=BEAT_S)
        self._pulse = Folder(folder.uri, brief, is_fenced=folder.is_fenced)
        self._over, self._lost = threading.Event(), False
        self._thread = threading.Thread(target=self._beat, name="claim", daemon=True)

    def __enter__(self) -> Holding:
        holder = {
            **ProcessIdentity.current().to_json(),
            "doing": self._doing,
            "claimed_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "conditional_writes": self._folder.is_fenced,
        }
        self.claim: Claim = claims.take(self._folder, holder, is_gone=is_gone, clock=SystemClock(), say=self._say)
        self._claimed_s = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self, record: dict[str, Any] | None = None) -> None:
        """End the attempt, with what there is to say of it; only the first call does something."""
        self._over.set()
        self._thread.join()
        with suppress(Exception):  # the run has said what went wrong; without this file others wait for a lease
            self._pulse.create(f"{self.claim.folder}/{RECORD}", json.dumps(record or {}, indent=1).encode())

    def require(self) -> None:
        """ClaimLost unless this attempt may write what decides the result. In a store that can't refuse, this waits first
        until no claim of the same moment can be under way any more."""
        if not self.claim.is_fenced:
            self._over.wait(max(0.0, self._claimed_s + SETTLE_S - time.monotonic()))
        claims.require(self._folder, self.claim)

    def raise_if_lost(self) -> None:
        """ClaimLost as soon as the beat has found out; asks no store."""
        if self._lost:
            claims.require(self._folder, self.claim)

    def loss_behind(self, error: BaseException) -> BaseException:
        """ClaimLost in the place of an error where another attempt has taken over: what this process met then, as a Ray
        that did not survive its own suspension, has no other cause. Else the error itself."""
        if not isinstance(error, Exception) or isinstance(error, RunRefused | ClaimLost):
            return error
        with suppress(Exception):
            if not claims.holds(self._pulse, self.claim):
                return claims.lost(self._pulse, self.claim)
        return error

    def follows_unknown(self, since: int) -> bool:
        """Whether an attempt from `since` on has neither ended nor is provably gone, and so may wake up."""
        return claims.may_wake(self._folder, self.claim, since, is_gone)

    def _beat(self) -> None:
        count = 0
        while not self._over.wait(BEAT_S if count else 0.0):
            count += 1
            with suppress(
                Exception
            ):  # a store that does not answer for a lease costs the claim, and not the run itself
                self._pulse.publish(f"{self.claim.folder}/{BEAT}", json.dumps({"beat": count}).encode())
                self._lost = not claims.holds(self._pulse, self.claim)
