"""Wait for a submission to its end, print what it prints, and submit again what the loss of a cluster or a driver ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from pixelmill.jobs.session.job_server import ClusterJob, JobServer
from pixelmill.jobs.supervision.causes import Cause
from pixelmill.jobs.supervision.exit_codes import EXIT_STOPPED, EXIT_TRY_AGAIN
from pixelmill.jobs.supervision.policy import Attempted, End, next_step, pause_s
from pixelmill.jobs.terminal.views import duration
from pixelmill.workers.errors import ClusterUnreachable, NoRoom

POLL_S = 1.0
LOST_EXIT_CODE = 128
"""From here on an exit code says that a signal ended the command."""
Submit = Callable[[], tuple[JobServer, str]]


def cause_in(found: ClusterJob | None) -> tuple[Cause, int]:
    """Why a job of the cluster is over, and its exit code. The command there has tried again what could be: only the loss of
    its process, its node or its cluster is left to others."""
    if found is None:
        return "interruption", EXIT_TRY_AGAIN
    if found.status == "SUCCEEDED":
        return "complete", 0
    if found.status == "STOPPED":
        return "stopped", 130
    code = found.exit_code
    if code is None or code < 0 or code >= LOST_EXIT_CODE or code == EXIT_TRY_AGAIN:
        return "interruption", EXIT_TRY_AGAIN
    return "job", code


class Waiting:
    """See `end`."""

    def __init__(
        self,
        server: JobServer,
        submission_id: str,
        submit: Submit,
        say: Callable[[str], None],
        *,
        follows: bool,
        may_go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        """`may_go_on` says before another submission whether the run was not asked to stop."""
        self._server, self._id, self._submit, self._say = server, submission_id, submit, say
        self._may_go_on = may_go_on
        self._follows, self._printed = follows, 0
        self._attempts: list[Attempted] = []

    def end(self) -> int:
        """Wait until the run has ended; returns its exit code."""
        while True:
            cause, code = self._ended()
            self._attempts.append(Attempted(cause, code))
            step = next_step(self._attempts, retries=0)
            if isinstance(step, End):
                return step.code
            self._say(f"{self._id} was lost with its driver or cluster; submitted again in {duration(step.after_s)}")
            time.sleep(step.after_s)
            if not self._may_go_on():
                self._say("not submitted again, as `pixelmill stop` asked")
                return EXIT_STOPPED
            self._submit_again()

    def _ended(self) -> tuple[Cause, int]:
        failures = 0
        while True:
            try:
                found = self._server.find(self._id)
                self._print()
                if found is None or found.is_over:
                    return cause_in(found)
                failures = 0
                time.sleep(POLL_S)
            except ClusterUnreachable as error:
                failures += 1
                if failures == 1:
                    self._say(f"{error}; waiting until it does")
                time.sleep(min(30.0, pause_s(failures)))

    def _submit_again(self) -> None:
        """Until a cluster answers and has room: its head may be back before its nodes are."""
        failures = 0
        while True:
            try:
                self._server, self._id = self._submit()
                self._printed = 0
                return
            except (ClusterUnreachable, NoRoom) as error:
                failures += 1
                if failures == 1:
                    self._say(f"{error}; waiting until that changes")
                time.sleep(min(30.0, pause_s(failures)))

    def _print(self) -> None:
        """What the command there printed since the last time."""
        if not self._follows:
            return
        log = self._server.log(self._id)
        sys.stderr.write(log[self._printed :])
        sys.stderr.flush()
        self._printed = len(log)
