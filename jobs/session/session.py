"""What every attempt needs: the claim of its folder, log and events, the terminal, and a watchdog over its Ray.

A bulk run and a training are one session each. Every end is recorded: an error, Ctrl-C, a lost claim, or the death of
Ray, after which the process can only end.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass

from pixelmill.jobs.event_stream import EventStream
from pixelmill.jobs.outcome import Ending, Stopwatch, ending_of
from pixelmill.jobs.session import cluster, ray_api
from pixelmill.jobs.session.holding import UNLIMITED, Holding, holding
from pixelmill.jobs.session.limits import Allowance, LimitWatch
from pixelmill.jobs.session.publisher import AttemptPublisher, LogTail
from pixelmill.jobs.session.ray_session import RayPlace, RaySession, ray_session
from pixelmill.jobs.session.ray_watchdog import RayWatchdog, run_mark
from pixelmill.jobs.supervision.exit_codes import exit_code_of_error
from pixelmill.jobs.surroundings import Surroundings
from pixelmill.jobs.terminal.screen import Screen
from pixelmill.pipelines.events import Doing, Ended
from pixelmill.pipelines.outputs.claims import Claim
from pixelmill.pipelines.outputs.self_report import SelfReport
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import RayLost

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobKind:
    """How kinds of jobs differ at their end.

    `record` adds to the record that every attempt has, `publish_log` publishes the whole log, and `ray_died` is the
    message for the user when {dead}, a process of Ray, has died.
    """

    doing: Doing
    record: Callable[[Ending], Mapping[str, object]]
    publish_log: Callable[[Folder, Claim, bytes], None]
    ray_died: str
    allowance: Allowance = UNLIMITED
    count_nodes: Callable[[], int] = ray_api.nodes_in_use
    """The nodes that the attempt uses at this moment, which `allowance` pays for."""


class Session:
    """One attempt; see `session`."""

    def __init__(
        self,
        out: Folder,
        held: Holding,
        screen: Screen,
        events: EventStream,
        around: Surroundings,
        stopwatch: Stopwatch,
        kind: JobKind,
    ) -> None:
        self.out, self.held, self.events, self.stopwatch = out, held, events, stopwatch
        self._screen, self._around, self._kind = screen, around, kind
        self._log = LogTail(screen.log)
        report = SelfReport(held.brief, held.claim)
        self._publisher = AttemptPublisher(report, events, self._log, lambda: held.is_lost)
        self._watchdog = RayWatchdog(self._end_at_once, run_mark(), around.environment)

    def begin(self) -> None:
        self._screen.facts.update(run=scrub(self.out.uri), attempt=str(self.held.claim.epoch))
        self.events.begin(self.held.claim.epoch)
        self._publisher.start()

    def ray(self, place: RayPlace) -> AbstractContextManager[RaySession]:
        """Ray for the length of a block, with a watchdog."""
        return ray_session(place, self._watchdog, self._around.environment, self.events)

    def end(self, error: BaseException | None) -> None:
        """Publish and record how the attempt ended. Errors of the store are dropped: the error being raised is more
        important."""
        ending = ending_of(error, self.held.claim.epoch, is_fenced=self.out.is_fenced, stopwatch=self.stopwatch)
        self.events.emit(Ended(ended=ending["ended"], error=ending["error"]))
        self._publisher.close()
        sys.stdout.flush()
        sys.stderr.flush()
        with suppress(Exception):
            self._kind.publish_log(self.out, self.held.claim, self._log.whole().encode())
        self.held.release(self._kind.record(ending))

    def _end_at_once(self, dead: str) -> None:
        """End the process after the death of Ray's `dead`: from now on every call of Ray hangs, or ends the process
        silently."""
        error = self.held.loss_behind(RayLost(self._kind.ray_died.format(dead=dead)))
        self._screen.terminal.end(f"pixelmill: {error}")
        self.end(error)
        cluster.remove_all(self._watchdog)
        os._exit(exit_code_of_error(error))


@contextmanager
def session(
    out: Folder, screen: Screen, events: EventStream, around: Surroundings, stopwatch: Stopwatch, kind: JobKind
) -> Generator[Session]:
    """Hold the folder and show the terminal within the block; every end is recorded. Raises RunRefused while another
    attempt lives, and ClaimLost in place of any error where another attempt has taken over.
    """
    limits = LimitWatch(kind.allowance, kind.count_nodes)
    with holding(out, kind.doing, around.now, events.warn, limits, events.quiet_s) as held:
        made = Session(out, held, screen, events, around, stopwatch, kind)
        made.begin()
        error: BaseException | None = None
        try:
            with screen.terminal:
                yield made
        except BaseException as raised:
            error = held.loss_behind(raised)
            LOGGER.error("%s", type(error).__name__, exc_info=raised)
            if error is raised:
                raise
            raise error from raised
        finally:
            made.end(error)
