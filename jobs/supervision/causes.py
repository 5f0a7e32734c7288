"""Why an attempt ended, as far as it decides whether and how it is tried again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pixelmill.workers.errors import (
    ClaimLost,
    ClusterUnreachable,
    DataError,
    JobError,
    ModelError,
    NoRoom,
    RayLost,
    RunHeld,
    RunRefused,
    StopRequested,
    StoreUnavailable,
    TooManyFailed,
)

Cause = Literal["complete", "stopped", "interruption", "unreachable", "held", "memory", "error", "job", "overtaken"]
"""What ended an attempt.

    complete       every input is in one row, or the training has taken its steps
    stopped        `pixelmill stop`, run.deadline, run.max_cost or run.max_failed_fraction: a person decides how to go on
    interruption   a node, a process, Ray or a store was lost: nobody's fault, and tried again for as long as it takes
    unreachable    no cluster answers, or it has no room: a mistake at the first attempt, later a matter of time
    held           another attempt holds the run, perhaps one whose parent was just killed: tried again until it lets go
    memory         out of memory: tried again with a smaller batch
    error          anything else that went wrong, a defect too: tried again a few times
    job            the job, its data or its output folder is wrong: never tried again
    overtaken      another attempt has taken over, and does the work
"""

_OF_THE_JOB = (JobError, RunRefused, ModelError, DataError)
_INTERRUPTIONS = frozenset(
    {
        "ActorDiedError", "ActorUnavailableError", "LocalRayletDiedError", "NodeDiedError", "ObjectLostError",
        "OwnerDiedError", "RaySystemError", "RpcError", "WorkerCrashedError", "WorkerGroupStartupFailedError",
        "WorkerGroupStartupTimeoutError", "ConnectionError", "ConnectionResetError", "ConnectionRefusedError",
    }
)  # fmt: skip
_OUT_OF_MEMORY = frozenset({"MemoryError", "OutOfMemoryError"})


def cause_of(error: BaseException | None) -> Cause:
    """What this end of an attempt means; None is a complete one."""
    match error:
        case None:
            return "complete"
        case StopRequested() | TooManyFailed():
            return "stopped"
        case ClaimLost():
            return "overtaken"
        case ClusterUnreachable() | NoRoom():
            return "unreachable"
        case RunHeld():
            return "held"
        case RayLost() | StoreUnavailable() | KeyboardInterrupt():
            return "interruption"
        case _ if isinstance(error, _OF_THE_JOB):
            return "job"
        case _:
            return _by_its_chain(error)


def _by_its_chain(error: BaseException) -> Cause:
    names = {type(each).__name__ for each in _chain(error)}
    if names & _OUT_OF_MEMORY or "out of memory" in str(error).lower():
        return "memory"
    return "interruption" if names & _INTERRUPTIONS else "error"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, what caused it, and what that was raised from."""
    seen = set[int]()
    here: BaseException | None = error
    while here is not None and id(here) not in seen:
        seen.add(id(here))
        yield here
        here = here.__cause__ or here.__context__


def cause_of_death(code: int) -> Cause:
    """What it means that the process of an attempt ended with this code and without a word: it was killed, with its node or
    its Ray, or it crashed."""
    crashed = {-4, -6, -7, -8, -11}  # SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV
    return "error" if code in crashed else "interruption"
