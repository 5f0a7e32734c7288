"""Run a job in a child process, for callers that have to survive it: a notebook's kernel, a script with its own Ray.

A run redirects the standard streams, replaces signal handlers, starts Ray (a process can have only one) and ends its
process when Ray dies. None of that may happen to a kernel. The child reads a request as a line of JSON from standard
input and answers with JSON on standard output. The end of its input, for example when the caller is killed, interrupts
it.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Literal, TextIO

from pixelmill.jobs import surroundings
from pixelmill.jobs.supervision.causes import Cause, cause_of
from pixelmill.jobs.supervision.exit_codes import exit_code_of_error
from pixelmill.workers.errors import JobStopped, PixelmillError

Kind = Literal["run", "train"]
PATIENCE_S = 120.0
"""How long an interrupted child may take to shut down."""
_CHILD = "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); from pixelmill.jobs.child import main; main()"


@dataclass(frozen=True)
class Request:
    """A job file or a recipe file as text; `overrides` as the command's --set has them."""

    kind: Kind
    text: str
    name: str
    overrides: tuple[str, ...] = ()
    quiet: bool = False


@dataclass(frozen=True)
class Reply:
    """The URI of the output, or the error that ended the run: its module, class and message. `code` is the exit code that the
    command would have had, `summary` what it would have printed."""

    out: str = ""
    error: tuple[str, str, str] | None = None
    cause: Cause = "complete"
    code: int = 0
    summary: str = ""


# The caller's side


def run_in_child(request: Request) -> str:
    """Run a job and return the URI of its output. Raises PixelmillError as the command does, KeyboardInterrupt after
    shutdown.

    What the command writes to standard error appears on the caller's standard error; in a notebook, below the cell.
    """
    return result_of(*asked(request))


def asked(request: Request) -> tuple[bytes, int]:
    """Run a job in a child process: its answer, empty where it could give none, and the exit code of the process."""
    command = [sys.executable, "-c", _CHILD, json.dumps(sys.path)]
    with _screen() as stderr:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True
        )
        answer = _answer(child, request)
    return answer, child.returncode


def reply_in(answer: bytes) -> Reply | None:
    """The reply in an answer; None where the process could give none."""
    return Reply(**json.loads(answer)) if answer else None


def _answer(child: subprocess.Popen[bytes], request: Request) -> bytes:
    """The answer of the child. Ctrl-C is passed on to it, and its shutdown is waited for once."""
    assert child.stdin is not None
    assert child.stdout is not None
    with child, child.stdin as stdin:
        try:
            with suppress(BrokenPipeError):  # it died at once; its exit code says how
                stdin.write(json.dumps(asdict(request)).encode() + b"\n")
                stdin.flush()
            answer = child.stdout.read()
            child.wait()
        except BaseException:
            child.terminate()
            try:
                child.wait(PATIENCE_S)
            finally:
                child.kill()
            raise
    return answer


@contextmanager
def _screen() -> Generator[int | None]:
    """A descriptor whose text appears on the caller's standard error: a terminal itself, or a pipe that a thread copies
    from."""
    if sys.stderr is sys.__stderr__ and sys.stderr is not None and sys.stderr.isatty():
        yield None
        return
    reading, writing = os.pipe()
    copying = threading.Thread(target=_copy, args=(reading, sys.stderr), name="screen", daemon=True)
    copying.start()
    try:
        yield writing
    finally:
        os.close(writing)
        copying.join(5.0)  # a process that the child left behind may hold the other end


def _copy(reading: int, stream: TextIO | None) -> None:
    with os.fdopen(reading, encoding="utf-8", errors="backslashreplace") as lines:
        for line in lines:
            if stream is not None:
                stream.write(line)
                stream.flush()


def result_of(answer: bytes, code: int) -> str:
    """The URI in an answer. Raises the error in it, or one that says that the child gave no answer."""
    reply = reply_in(answer)
    if reply is None:
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        raise JobStopped(
            f"the process of the run was ended {how}, and said why above if it could; what was finished stays, and the same "
            "call resumes from there"
        )
    if reply.error is not None:
        raise _error(*reply.error)
    return reply.out


def _error(module: str, kind: str, message: str) -> Exception:
    """The error that the run raised, as an exception of this process."""
    if not module.startswith("pixelmill."):
        return RuntimeError(f"{kind}: {message}")
    found = getattr(import_module(module), kind, PixelmillError)
    is_plain = (
        isinstance(found, type) and issubclass(found, PixelmillError) and found.__init__ is PixelmillError.__init__
    )
    return found(message) if is_plain else PixelmillError(message)


# The child's side


def main() -> None:
    """Read a request, run it, answer."""
    from pixelmill.jobs.host import signals
    from pixelmill.jobs.terminal import printable, streams

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # the output of libraries is not the answer
    streams.install()
    signals.install()
    printable.install()
    request = Request(**json.loads(_first_line(0)))
    threading.Thread(target=end_with_the_caller, name="caller", daemon=True).start()
    reply = _reply(request)
    with suppress(BrokenPipeError), answers:
        answers.write(json.dumps(asdict(reply)).encode())


def _first_line(descriptor: int) -> bytes:
    with io.FileIO(descriptor, closefd=False) as raw:
        return raw.readline()


def end_with_the_caller() -> None:
    """Interrupt this process when the caller, which holds the other end of standard input, is gone; again if it
    hangs."""
    while os.read(0, 1024):
        pass
    while True:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE_S)


def _reply(request: Request) -> Reply:
    import traceback

    from pixelmill.workers.credentials import scrub

    try:
        return _DO[request.kind](request)
    except PixelmillError as error:
        said = type(error).__module__, type(error).__name__, scrub(str(error))
        return Reply(error=said, cause=cause_of(error), code=exit_code_of_error(error))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:  # a defect: the caller gets the whole traceback
        said = "", type(error).__name__, scrub(traceback.format_exc())
        return Reply(error=said, cause=cause_of(error), code=exit_code_of_error(error))


def _run(request: Request) -> Reply:
    from pixelmill.jobs.job import read_job
    from pixelmill.jobs.outcome import exit_code_of
    from pixelmill.jobs.run import run_job
    from pixelmill.jobs.summary import note_of, summary_of

    around = surroundings.of_process(quiet=request.quiet)
    overrides = list(request.overrides)
    job = read_job(request.text, name=request.name, overrides=overrides, environment=around.environment)
    if (note := note_of(job.spec)) and not request.quiet:
        sys.stderr.write(f"{note}\n")
    outcome, uri = run_job(job, around), job.open_out().uri
    return Reply(uri, code=exit_code_of(outcome, job.spec.run.failures), summary=summary_of(outcome, uri))


def _train(request: Request) -> Reply:
    from pixelmill.jobs.train import train_job
    from pixelmill.jobs.training.job import read_recipe_file

    around = surroundings.of_process(quiet=request.quiet)
    overrides = list(request.overrides)
    job = read_recipe_file(request.text, name=request.name, overrides=overrides, environment=around.environment)
    summary = train_job(job, around)
    return Reply(job.open_out().uri, summary=summary)


_DO: dict[Kind, Callable[[Request], Reply]] = {"run": _run, "train": _train}
