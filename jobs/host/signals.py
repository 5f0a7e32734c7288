"""Turn Ctrl-C and SIGTERM into a KeyboardInterrupt that is never raised in the middle of an import or of logging.

Most of a start is imports. A KeyboardInterrupt within an import leaves a half-initialized module behind, or a held lock
of the import system that blocks every other thread. If the module is Ray, it can't be shut down any more. An interrupt
within logging leaves its shared locks held. One within a finalizer or a callback from C is printed and dropped by
Python, so it is raised again.
"""

from __future__ import annotations

import atexit
import logging
import math
import signal
import sys
import time
from types import FrameType

_DELICATE = ("<frozen importlib", logging.__file__)
AGAIN_S = 0.02
ONE_REQUEST_S = 5.0
"""A second SIGTERM within this time is the same request: a scheduler sends one to every process of a job, and a parent passes
its own on. A second Ctrl-C is always one more."""
MOST_POSTPONED = 500
"""After ten seconds the interrupt is raised in any place."""


def install() -> None:
    """Install the handlers; call it on the main thread. A command that was started with Ctrl-C ignored still ignores
    it."""
    if sys.platform == "win32":
        return  # it has no timer that interrupts
    postponed, terminated_s = 0, -math.inf

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal postponed, terminated_s
        if number == signal.SIGTERM:
            before_s, terminated_s = terminated_s, time.monotonic()
            if terminated_s - before_s < ONE_REQUEST_S:
                return
        if is_delicate(frame) and postponed < MOST_POSTPONED:
            postponed += 1
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S)  # not a thread: starting one takes locks that may be held
            return
        postponed = 0
        raise KeyboardInterrupt

    # First and to the last: a timer that runs out while nobody handles it ends the process.
    signal.signal(signal.SIGALRM, interrupt)
    atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    _raise_again_what_is_ignored()


def _raise_again_what_is_ignored() -> None:
    """Raise an interrupt again that Python reported to this hook because nobody could catch it."""
    report = sys.unraisablehook

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
        else:
            report(unraisable)

    sys.unraisablehook = hook


def is_delicate(frame: FrameType | None) -> bool:
    """Whether this frame, or one that called it, belongs to the import system or to logging."""
    while frame is not None:
        if frame.f_code.co_filename.startswith(_DELICATE):
            return True
        frame = frame.f_back
    return False
