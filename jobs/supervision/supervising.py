"""Supervise a file of any kind: its limits, its requests and its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

from pixelmill.jobs.child import Request
from pixelmill.jobs.documents.kinds import kind_of
from pixelmill.jobs.documents.parsing import read_file
from pixelmill.jobs.outcome import EXIT_FAILED, EXIT_INTERRUPTED
from pixelmill.jobs.runs import stopping
from pixelmill.jobs.spec import Limits
from pixelmill.jobs.submission import records
from pixelmill.jobs.supervision.exit_codes import EXIT_STOPPED, exit_code_of_error
from pixelmill.jobs.supervision.notifying import notify, payload
from pixelmill.jobs.supervision.supervisor import Between, Supervisor, Task, smaller_batches
from pixelmill.jobs.surroundings import Surroundings
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import PixelmillError

Say = Callable[[str], None]


def supervise_file(
    file: str, overrides: list[str], around: Surroundings, say: Say, *, submission: str | None = None
) -> int:
    """Run a file until there is an end; returns the exit code. `submission` is its number in the run's folder."""
    return supervise_text(read_file(file), file, overrides, around, say, submission=submission)


def supervise_text(
    text: str, name: str, overrides: list[str], around: Surroundings, say: Say, *, submission: str | None = None
) -> int:
    """As `supervise_file`, for the text of a file."""
    if kind_of(text, name) == "flow":
        return _supervise_flow(text, name, overrides, around, say, submission)
    out, limits, task = _task_of(text, name, overrides, around)
    supervisor = Supervisor(task, say, may_begin=partial(may_begin, out, submission), between=between_attempts(out))
    return _reported(supervisor.run, limits, out, task.request.kind, lambda: len(supervisor.attempts), around, say)


def _supervise_flow(
    text: str, name: str, overrides: list[str], around: Surroundings, say: Say, submission: str | None
) -> int:
    """A flow tries its steps again by itself."""
    from pixelmill.jobs.flows.running import run_flow_text
    from pixelmill.jobs.flows.spec import read_flow

    flow = read_flow(text, name=name, overrides=overrides, environment=around.environment)
    out = flow.open_out()
    if not may_begin(out, submission):
        say("stopped before it began, as `pixelmill stop` asked")
        return EXIT_STOPPED
    run = partial(run_flow_text, text, name, overrides, around, say)
    return _reported(run, flow.spec.run, out, "flow", lambda: 1, around, say)


def _reported(
    run: Callable[[], int],
    limits: Limits,
    out: Folder,
    kind: str,
    attempts: Callable[[], int],
    around: Surroundings,
    say: Say,
) -> int:
    """Run to the end, whatever that is, and send one message about it where the file asks for that."""
    code = EXIT_FAILED
    try:
        code = run()
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
        raise
    except PixelmillError as error:
        code = exit_code_of_error(error)
        raise
    finally:
        if limits.notify is not None:
            content = payload(scrub(out.uri), kind, code, attempts(), around.now() - around.started_s)
            notify(limits.notify, content, say)
    return code


def may_begin(out: Folder, submission: str | None) -> bool:
    """Whether the submission was not asked to stop before it began."""
    return submission is None or not out.exists(f"{records.FOLDER}/{submission}.stop")


def between_attempts(out: Folder) -> Between:
    """As the run's folder has it: a request to stop counts that comes from now on. A store that does not answer holds up nothing:
    the next attempt will say so."""

    def request() -> str | None:
        with suppress(Exception):
            return stopping.request_of(out)
        return None

    def announce() -> None:
        with suppress(Exception):
            stopping.announce_another(out)

    before = request()
    return Between(announce, lambda: request() in {None, before})


def _task_of(text: str, name: str, overrides: list[str], around: Surroundings) -> tuple[Folder, Limits, Task]:
    """The task of a job or a training. Raises PixelmillError where it is wrong: nothing is started then."""
    if kind_of(text, name) == "training":
        from pixelmill.jobs.training.job import read_recipe_file

        training = read_recipe_file(text, name=name, overrides=overrides, environment=around.environment)
        request = Request("train", text, name, tuple(overrides), around.quiet)
        limits = training.spec.run
        fewest = partial(more_passes, training.settings.batch, training.settings.accumulate, limits.most_workers)
        return training.open_out(), limits, Task(request, limits.retries, fewest)
    from pixelmill.jobs.job import read_job

    job = read_job(text, name=name, overrides=overrides, environment=around.environment)
    request = Request("run", text, name, tuple(overrides), around.quiet)
    smaller = partial(smaller_batches, job.spec.configs)
    return job.open_out(), job.spec.run, Task(request, job.spec.run.retries, smaller)


def more_passes(batch: int, accumulate: int, workers: int, halvings: int) -> Iterable[str]:
    """Overrides by which a training takes the same batches in smaller pieces: its batch decides its result, and stays."""
    passes = accumulate
    for _ in range(halvings):
        if batch % (workers * passes * 2) == 0:
            passes *= 2
    return [f"accumulate={passes}"]
