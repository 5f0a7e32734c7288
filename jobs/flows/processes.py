"""A step as a process: the command itself, begun, waited for, tried again by its exit code, and ended with the flow."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping

from pixelmill.jobs.supervision.causes import Cause
from pixelmill.jobs.supervision.exit_codes import EXIT_BAD_JOB, EXIT_STOPPED, EXIT_TRY_AGAIN
from pixelmill.jobs.supervision.policy import Attempted, End, next_step
from pixelmill.jobs.surroundings import ENDS_WITH_STDIN

PATIENCE_S = 150.0
_CAUSES: dict[int, Cause] = {
    0: "complete",
    EXIT_BAD_JOB: "job",
    3: "complete",
    EXIT_STOPPED: "stopped",
    EXIT_TRY_AGAIN: "interruption",
    130: "interruption",
}


def cause_of_exit(code: int) -> Cause:
    """What the exit code of a command means; a signal from outside is an interruption."""
    return _CAUSES.get(code, "interruption" if code < 0 or code >= 128 else "error")


class StepProcess:
    """Poll it until `code` is no longer None."""

    def __init__(
        self,
        words: tuple[str, ...],
        environment: Mapping[str, str],
        retries: int,
        say: Callable[[str], None],
        command: tuple[str, ...] = (sys.executable, "-m", "pixelmill"),
    ) -> None:
        self._words, self._retries, self._say = words, retries, say
        self._command, self._environment = command, {**environment, ENDS_WITH_STDIN: "1"}
        self._attempts: list[Attempted] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._began_s = self._again_s = time.monotonic()
        self.code: int | None = None
        self._begin()

    def _begin(self) -> None:
        self._began_s = time.monotonic()
        self._process = subprocess.Popen(
            [*self._command, *self._words], env=self._environment, stdin=subprocess.PIPE, start_new_session=True
        )

    def poll(self) -> None:
        """Find out whether the command has ended, and begin it again where that may help and its pause is over."""
        if self.code is not None:
            return
        if self._process is None:
            if time.monotonic() >= self._again_s:
                self._begin()
            return
        code = self._process.poll()
        if code is not None:
            self._ended(code)

    def _ended(self, code: int) -> None:
        self._close()
        seconds = time.monotonic() - self._began_s
        self._attempts.append(Attempted(cause_of_exit(code), code if code >= 0 else EXIT_TRY_AGAIN, seconds))
        step = next_step(self._attempts, self._retries)
        if isinstance(step, End):
            self.code = step.code
            return
        self._say(f"ended with exit code {code}, and is tried again in {step.after_s:g} s")
        self._again_s = time.monotonic() + step.after_s

    def _close(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None

    def end(self) -> None:
        """Ask the command to end, as Ctrl-C does, and wait for it."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._close()
