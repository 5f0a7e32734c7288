"""What the `submit` command was asked for, checked, done and waited for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from shlex import quote

from pixelmill.jobs.documents.parsing import read_file
from pixelmill.jobs.session.job_server import JobServer, address_of
from pixelmill.jobs.submission.prepared import Prepared, prepared
from pixelmill.jobs.submission.submitting import Submission, Wanted
from pixelmill.jobs.submission.waiting import Waiting
from pixelmill.jobs.supervision.supervising import between_attempts
from pixelmill.jobs.surroundings import Surroundings
from pixelmill.workers.errors import JobError

Say = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """The words of the command."""

    file: str
    address: str | None
    waits: bool
    follows: bool
    overrides: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    code: str = "send"
    python: str = "python"
    driver_cpus: float | None = None
    driver_resources: tuple[str, ...] = ()

    def wanted(self, environment: Mapping[str, str]) -> Wanted:
        """Raises JobError for words that mean nothing, and for secrets."""
        if self.code not in {"send", "image"}:
            raise JobError(f"--code {self.code}: there are send, which sends the code of this Pixelmill, and image")
        return Wanted(
            dict(_variable(word, environment) for word in self.environment),
            self.secrets,
            self.python,
            self.code == "send",
            self.driver_cpus,
            dict(map(_resource, self.driver_resources)),
        )


def _variable(word: str, environment: Mapping[str, str]) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if equals:
        return name, value
    if name not in environment:
        raise JobError(f"--env {name}: is not set here; set it, or write --env {name}=VALUE")
    return name, environment[name]


def _resource(word: str) -> tuple[str, float]:
    name, _, amount = word.partition("=")
    try:
        return name, float(amount)
    except ValueError:
        raise JobError(f"--driver-resource {word}: write NAME=AMOUNT, as in --driver-resource worker=0.01") from None


def submit_file(asked: Asked, around: Surroundings, say: Say) -> int:
    """Submit the file; returns the exit code: of the run where it is waited for, otherwise 0. Raises PixelmillError before
    anything is started."""
    text = read_file(asked.file)
    return submit_text(text, asked, around, say)


def submit_text(text: str, asked: Asked, around: Surroundings, say: Say) -> int:
    """As `submit_file`, for a text that was never a file: the recorded one of a run."""
    wanted = asked.wanted(around.environment)
    address, note = address_of(asked.address, around.environment)
    if note:
        say(note)
    sent = prepared(text, name=asked.file, overrides=list(asked.overrides), environment=around.environment)
    check_output(sent, around.environment)

    def submit_once() -> tuple[JobServer, str]:
        server = JobServer(address)
        made = Submission(server, sent, wanted, around.now, say).submit()
        return server, made.submission_id

    may_go_on = between_attempts(sent.out).may_go_on
    server, submission_id = submit_once()
    say(f"submitted as {submission_id}; follow it with: pixelmill logs {quote(sent.out.uri)} -f")
    if not asked.waits:
        return 0
    return Waiting(server, submission_id, submit_once, say, follows=asked.follows, may_go_on=may_go_on).end()


def check_output(sent: Prepared, environment: Mapping[str, str]) -> None:
    """Raises RunRefused where the output folder holds another run than this job, as the command there would."""
    if sent.kind == "job":
        from pixelmill.jobs import checks
        from pixelmill.jobs.job import check_document

        job = check_document(sent.document, name="the job", environment=environment)
        checks.check_output(job, job.open_out(), retry=False)
