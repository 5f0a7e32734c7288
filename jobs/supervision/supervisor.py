"""Bring a run back until it is complete: each attempt in a process of its own, and after it what its cause asks for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from pixelmill.jobs import child
from pixelmill.jobs.child import Request
from pixelmill.jobs.supervision.causes import cause_of_death
from pixelmill.jobs.supervision.exit_codes import EXIT_STOPPED, EXIT_TRY_AGAIN
from pixelmill.jobs.supervision.policy import Attempted, End, next_step
from pixelmill.jobs.terminal.views import duration

Do = Callable[[Request], tuple[bytes, int]]
Wait = Callable[[float], None]


@dataclass(frozen=True)
class Task:
    """What is supervised: the request of each attempt, how often an error is tried again, and what less memory changes."""

    request: Request
    retries: int
    smaller: Callable[[int], Iterable[str]]
    """The overrides by which batches are halved so often."""


@dataclass(frozen=True)
class Between:
    """What is done between two attempts: before the pause others are told of the next one, after it one is asked whether it may
    begin."""

    announce: Callable[[], None] = lambda: None
    may_go_on: Callable[[], bool] = lambda: True


class Supervisor:
    """Runs attempts until there is an end to report."""

    def __init__(
        self,
        task: Task,
        say: Callable[[str], None],
        do: Do = child.asked,
        wait: Wait = time.sleep,
        may_begin: Callable[[], bool] = lambda: True,
        between: Between = Between(),
    ) -> None:
        """`may_begin` is asked before each attempt, and says no once the run was asked not to begin."""
        self._task, self._say, self._do, self._wait = task, say, do, wait
        self._may_begin, self._between = may_begin, between
        self.attempts: list[Attempted] = []

    def run(self) -> int:
        """Returns the exit code of the last attempt. Raises KeyboardInterrupt after the attempt has shut down."""
        halvings = 0
        while True:
            if not self._may_begin() or (self.attempts and not self._between.may_go_on()):
                self._say("stopped before it began, as `pixelmill stop` asked")
                return EXIT_STOPPED
            self.attempts.append(self._attempt(halvings))
            step = next_step(self.attempts, self._task.retries)
            if isinstance(step, End):
                return step.code
            halvings = step.halvings
            self._say(self._what_now(step.after_s))
            self._between.announce()
            self._wait(step.after_s)

    def _what_now(self, after_s: float) -> str:
        last = self.attempts[-1]
        why = "it was interrupted from outside" if last.cause in {"interruption", "unreachable"} else "it failed"
        why = "another attempt holds the run" if last.cause == "held" else why
        why = "it ran out of memory, and batches are halved" if last.cause == "memory" else why
        return f"attempt {len(self.attempts)} ended after {duration(last.seconds)}: {why}; tried again in {duration(after_s)}"

    def _attempt(self, halvings: int) -> Attempted:
        began_s = time.monotonic()
        request = self._task.request
        overrides = (*request.overrides, *self._task.smaller(halvings)) if halvings else request.overrides
        answer, code = self._do(replace(request, overrides=overrides))
        seconds = time.monotonic() - began_s
        reply = child.reply_in(answer)
        if reply is None:
            how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            self._say(f"the process of the run was ended {how}, and gave no answer")
            return Attempted(cause_of_death(code), EXIT_TRY_AGAIN, seconds)
        if reply.error is not None:
            self._say(f"pixelmill: {reply.error[2]}")
        if reply.summary:
            sys.stdout.write(f"{reply.summary}\n")
            sys.stdout.flush()
        return Attempted(reply.cause, reply.code, seconds)


def smaller_batches(stages: Iterable[object], halvings: int) -> list[str]:
    """Overrides that halve the batches of a job's stages so often; a stage that chooses its batch by itself begins at 32."""
    found: list[str] = []
    for index, stage in enumerate(stages):
        batch = getattr(stage, "batch", None)
        if batch is not None:
            whole = batch if isinstance(batch, int) else 32
            found.append(f"stages.{index}.batch={max(1, whole >> halvings)}")
    return found
