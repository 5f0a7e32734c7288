"""The exit codes of all commands, for schedulers: docs/cluster.md says what each means and what to do then.

0    complete
1    an error; what was finished stays
2    the job, the command line or the cluster is wrong; nothing was started
3    complete, and some inputs failed (run.failures: ok makes it 0)
4    stopped cleanly before the end, by `pixelmill stop`, a deadline, a budget or too many failures; the run can be resumed
75   interrupted from outside: a node, the cluster or a store was lost, or another attempt holds the run; try again
130  interrupted by Ctrl-C or SIGTERM
"""

from __future__ import annotations

from pixelmill.jobs.supervision.causes import Cause, cause_of

EXIT_BAD_JOB, EXIT_STOPPED, EXIT_TRY_AGAIN = 2, 4, 75
_CODES: dict[Cause, int] = {
    "complete": 0,
    "stopped": EXIT_STOPPED,
    "interruption": EXIT_TRY_AGAIN,
    "unreachable": EXIT_BAD_JOB,
    "held": EXIT_TRY_AGAIN,
    "memory": 1,
    "error": 1,
    "job": EXIT_BAD_JOB,
    "overtaken": 1,
}


def exit_code_of_error(error: BaseException) -> int:
    """The exit code of a command that this error ended."""
    return _CODES[cause_of(error)]
