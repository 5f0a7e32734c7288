"""Hold a run while this process works on it: claim it, publish a beat, and stop when another attempt has taken over."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from shlex import quote

from pixelmill.jobs.host.process import ProcessIdentity
from pixelmill.jobs.session.limits import Allowance, LimitWatch
from pixelmill.pipelines.outputs import claims
from pixelmill.pipelines.outputs.claims import BEAT, BEAT_S, RECORD, SETTLE_S, Claim, Holder
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import ClaimLost, RunRefused, StopRequested

UNLIMITED = Allowance()


class SystemClock:
    """The clock of this process."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)


def is_gone(holder: Holder) -> bool:
    """Whether the process that made a claim has certainly ended."""
    try:
        return ProcessIdentity.from_json(holder).is_provably_gone()
    except ValueError:
        return False


@contextmanager
def holding(
    folder: Folder,
    doing: str,
    now: Callable[[], float],
    say: Callable[[str], None],
    limits: LimitWatch | None = None,
    quiet_s: Callable[[], float] = lambda: 0.0,
) -> Generator[Holding]:
    """Hold the folder within the block. Raises RunHeld while another living process holds it. `quiet_s` says for how long the
    attempt has made no progress."""
    holder = {
        **ProcessIdentity.current().to_json(),
        "doing": doing,
        "claimed_at": datetime.fromtimestamp(now(), UTC).isoformat(timespec="seconds"),
        "conditional_writes": folder.is_fenced,
    }
    claim = claims.take(folder, holder, is_gone=is_gone, clock=SystemClock(), say=say)
    held = Holding(folder, claim, limits, quiet_s)
    held.start()
    try:
        yield held
    finally:
        held.release()


class Holding:
    """A claim, and the beat that shows that its holder is alive; see `holding`."""

    def __init__(
        self, folder: Folder, claim: Claim, limits: LimitWatch | None = None, quiet_s: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.claim = claim
        self._limits, self._quiet_s = limits or LimitWatch(UNLIMITED), quiet_s
        self._folder, self._claimed_s = folder, time.monotonic()
        brief = replace(folder.access, timeout_s=min(BEAT_S, folder.access.timeout_s), retry_for_s=BEAT_S)
        self.brief = Folder(folder.uri, brief, is_fenced=folder.is_fenced)
        """The folder with short time limits, for writes that are not worth a long wait."""
        self._over, self._lost = threading.Event(), False
        self._thread = threading.Thread(target=self._beat, name="claim", daemon=True)

    def start(self) -> None:
        self._limits.begin(self.brief, self.claim)
        self._thread.start()

    def release(self, record: Mapping[str, object] | None = None) -> None:
        """End the attempt and write its record; later calls do nothing."""
        self._over.set()
        self._limits.end()
        self._thread.join()
        with suppress(Exception):  # the run has reported its error; without this file others wait for the lease
            self.brief.create(f"{self.claim.folder}/{RECORD}", json.dumps(record or {}, indent=1).encode())

    def require(self) -> None:
        """Raises ClaimLost unless this attempt may write what decides the result. In a store without conditional writes
        it first waits until no simultaneous claim can still arrive."""
        if not self.claim.is_fenced:
            self._over.wait(max(0.0, self._claimed_s + SETTLE_S - time.monotonic()))
        claims.require(self._folder, self.claim)

    @property
    def is_lost(self) -> bool:
        """Whether the last beat found that another attempt has taken over; makes no request."""
        return self._lost

    def raise_if_over(self) -> None:
        """Raises ClaimLost once a beat has found that another attempt has taken over, and StopRequested once it has found that
        this one should end; makes no request."""
        if self._lost:
            claims.require(self._folder, self.claim)
        if self._limits.why is not None:
            raise StopRequested(
                f"{self._folder.uri}: stopped, since {self._limits.why}; what was finished stays, and the run goes on from there "
                f"with: pixelmill resume {quote(self._folder.uri)}"
            )

    def loss_behind(self, error: BaseException) -> BaseException:
        """ClaimLost in place of an error where another attempt has taken over, since that then caused the error (for
        example a Ray that did not survive a suspension); otherwise the error itself."""
        if not isinstance(error, Exception) or isinstance(error, RunRefused | ClaimLost):
            return error
        with suppress(Exception):
            if not claims.holds(self.brief, self.claim):
                return claims.lost(self.brief, self.claim)
        return error

    def follows_unknown(self, since: int) -> bool:
        """Whether an attempt from `since` on has neither ended nor certainly died, so that it may wake up."""
        return claims.may_wake(self._folder, self.claim, since, is_gone)

    def _sign_of_life(self, count: int) -> dict[str, float]:
        limits = self._limits
        return {
            "beat": count,
            "quiet_s": round(self._quiet_s(), 1),
            "node_s": limits.node_s,
            "nodes": limits.nodes,
        }

    def _beat(self) -> None:
        count = 0
        while not self._over.wait(BEAT_S if count else 0.0):
            count += 1
            with suppress(
                Exception
            ):  # a store that does not answer for the length of a lease may cost the claim, but does not end the run
                self.brief.publish(f"{self.claim.folder}/{BEAT}", json.dumps(self._sign_of_life(count)).encode())
                self._limits.look(self.brief, self.claim)
                self._lost = not claims.holds(self.brief, self.claim)
