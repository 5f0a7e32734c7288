"""Submit a file to a cluster: compare the two, send the code, name the submission after run and attempt, or attach to it."""

from __future__ import annotations

import platform
import secrets
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from pixelmill.jobs.host import scratch
from pixelmill.jobs.session.job_server import ClusterJob, JobRequest, JobServer
from pixelmill.jobs.submission import package, records
from pixelmill.jobs.submission.prepared import Prepared
from pixelmill.jobs.submission.probe import FILE, REQUEST, Answer, Question
from pixelmill.jobs.submission.records import Submitted
from pixelmill.pipelines.outputs import claims
from pixelmill.pipelines.stores.explain import explained
from pixelmill.workers.credentials import carries_credentials, scrub
from pixelmill.workers.errors import JobError, NoRoom

STOP_WAIT_S = 90
"""How long the cluster waits between SIGTERM and SIGKILL: a training saves a checkpoint within a minute."""
PROBE_WITHIN_S = 300.0
POLL_S = 0.5
MOST_AGAIN = 100


@dataclass(frozen=True)
class Wanted:
    """How a job is to run there. `environment` is shown to everyone who may see the dashboard; `names` must be set there."""

    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    names: tuple[str, ...] = ()
    python: str = "python"
    ships_code: bool = True
    driver_cpus: float | None = None
    driver_resources: Mapping[str, float] = field(default_factory=dict[str, float])
    arguments: tuple[str, ...] = ()
    """Further words of the command that runs there."""

    def __post_init__(self) -> None:
        for name, value in self.environment.items():
            if carries_credentials(value) or scrub(f"{name}={value}") != f"{name}={value}":
                raise JobError(
                    f"--env: the variable {name} looks like a secret, and everyone who may see the cluster's dashboard would see "
                    f"it; set it on the nodes of the cluster (a Secret on Kubernetes) and name it with --secret {name}"
                )


class Submission:
    """One file for one cluster; see `submit`."""

    def __init__(
        self,
        server: JobServer,
        prepared: Prepared,
        wanted: Wanted,
        now: Callable[[], float],
        say: Callable[[str], None],
    ) -> None:
        self._server, self._prepared, self._wanted = server, prepared, wanted
        self._now, self._say = now, say
        names = tuple(sorted({*prepared.names, *wanted.names} - set(wanted.environment)))
        self._question = Question(prepared.kind, names, prepared.local_places, prepared.places_digest)

    def submit(self) -> Submitted:
        """Submit, or attach to the submission that lives. Raises JobError where the cluster does not fit."""
        require_same_ray(self._server)
        if (living := self._living()) is not None:
            self._say(f"{living.submission_id} is at work on {self._prepared.out.uri} already, and is attached to")
            return living
        folder = scratch.make()
        try:
            sent = folder / "pixelmill.zip"
            sent.write_bytes(package.packed(self._files()))
            self._compare(str(sent))
            return self._submit(str(sent))
        finally:
            scratch.remove(folder)

    def _files(self) -> dict[str, bytes]:
        text = self._prepared.text
        own = {FILE: text.encode(), REQUEST: self._question.to_json(), **self._prepared.extras}
        code = package.code(text + "".join(data.decode() for data in self._prepared.extras.values()))
        return {**(code if self._wanted.ships_code else {}), **own}

    def _living(self) -> Submitted | None:
        """The submission of this run that the cluster has not ended."""
        with explained(self._prepared.out.uri, "reading the output folder"):
            last = records.newest(self._prepared.out)
        if last is None:
            return None
        found = self._server.find(last.submission_id)
        return last if found is not None and not found.is_over else None

    def _request(self, submission_id: str, command: list[str], sent: str) -> JobRequest:
        wanted = self._wanted
        return JobRequest(
            submission_id,
            shlex.join(command),
            sent,
            {**wanted.environment, "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S)},
            {"pixelmill": _own_version(), "out": scrub(self._prepared.out.uri)},
            wanted.driver_cpus,
            wanted.driver_resources,
        )

    def _compare(self, sent: str) -> None:
        """Ask the node that the command would run on."""
        probe = f"{records.id_of(self._prepared.out.uri, 0, 0)}-probe-{secrets.token_hex(6)}"
        self._server.submit(self._request(probe, [self._wanted.python, "-m", "pixelmill.jobs.submission.probe"], sent))
        found = self._ended(probe)
        log = self._server.log(probe)
        require_fit(Answer.from_log(log), found, log, self._server.address, ships_code=self._wanted.ships_code)

    def _ended(self, submission_id: str) -> ClusterJob | None:
        until_s = time.monotonic() + PROBE_WITHIN_S
        while time.monotonic() < until_s:
            found = self._server.find(submission_id)
            if found is None or found.is_over:
                return found
            time.sleep(POLL_S)
        self._server.stop(submission_id)
        raise JobError(
            f"{scrub(self._server.address)}: no node took the command within {PROBE_WITHIN_S:g} s; is one up with "
            f"{self._placement()}? `ray status` on the head node shows what there is"
        )

    def _placement(self) -> str:
        asked = {
            **({"CPU": self._wanted.driver_cpus} if self._wanted.driver_cpus else {}),
            **self._wanted.driver_resources,
        }
        return ", ".join(f"{amount:g} {name}" for name, amount in asked.items()) or "room for a driver"

    def _submit(self, sent: str) -> Submitted:
        out = self._prepared.out
        epoch = claims.standing(out).epoch + 1
        command = [self._wanted.python, "-m", "pixelmill", "supervise", FILE, *self._wanted.arguments]
        for again in range(1, MOST_AGAIN):
            at = datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="seconds")
            submission_id = records.id_of(out.uri, epoch, again)
            made = Submitted(submission_id, scrub(self._server.address), epoch, again, at, self._prepared.kind)
            number = ["--submission", records.number_of(epoch, again)]
            if self._server.submit(self._request(submission_id, [*command, *number], sent)):
                records.write(out, made)
                return made
            found = self._server.find(submission_id)
            if found is not None and not found.is_over:
                self._say(f"{submission_id} was submitted in the same moment, and is attached to")
                return made
        raise JobError(
            f"{out.uri}: {MOST_AGAIN} submissions ended before they claimed the run; `pixelmill logs` shows why"
        )


def require_same_ray(server: JobServer) -> None:
    """Raises JobError where the cluster runs another version of Ray."""
    here, there = version("ray"), server.ray_version
    if here != there:
        raise JobError(
            f"{scrub(server.address)}: the cluster runs Ray {there}, and Ray {here} is installed here; install "
            f"'ray[default]=={there}' here, or give the cluster an image with Ray {here}"
        )


def require_fit(answer: Answer | None, ended: ClusterJob | None, log: str, address: str, *, ships_code: bool) -> None:
    """Raises JobError, with the next step, where the cluster can't run what is sent: NoRoom where only nodes are missing."""
    where = scrub(address)
    if answer is None:
        raise JobError(
            f"{where}: the cluster could not start Pixelmill: {_why(log, ended)}; its image needs the packages that "
            "Pixelmill needs (docs/cluster.md has a Dockerfile), and --python names the interpreter that has them"
        )
    _require_versions(answer, where, ships_code=ships_code)
    if answer.missing_names:
        raise JobError(
            f"{where}: {', '.join(answer.missing_names)} is not set on the cluster's node; set it there (a Secret on "
            "Kubernetes, the environment of `ray start` elsewhere), or pass what is no secret with --env NAME"
        )
    if answer.unseen_places:
        raise JobError(
            f"{where}: the cluster's node does not see {', '.join(answer.unseen_places)}; use a place that both see, on "
            "a store or a shared disk"
        )
    if answer.fault is not None:
        raise JobError(f"{where}: on the cluster this can't be run: {answer.fault}")
    if answer.lack is not None:
        raise NoRoom(f"{where}: {answer.lack}")
    if answer.is_elsewhere:
        raise JobError(
            f"{where}: references of the file, as ${{NAME}}, have other values on the cluster, and name another source or "
            "output there; set the same values, pass them with --env NAME, or write the places out"
        )


def _require_versions(answer: Answer, where: str, *, ships_code: bool) -> None:
    here = platform.python_version()
    if answer.python.split(".")[:2] != here.split(".")[:2]:
        raise JobError(
            f"{where}: the cluster runs Python {answer.python}, and this is Python {here}; Ray needs the same one in both "
            "places: use an image with this Python, or submit from one with that"
        )
    if not ships_code and answer.pixelmill != _own_version():
        raise JobError(
            f"{where}: the cluster's image holds pixelmill {answer.pixelmill or '(none)'}, and this is {_own_version()}; "
            "install that here, or leave out --code image, which sends the code of this one"
        )


def _own_version() -> str:
    try:
        return version("pixelmill")
    except PackageNotFoundError:
        return ""


_COMMAND_FAILED = "Job entrypoint command failed"
"""How Ray's message begins where the command itself ended badly, and the log says why."""


def _why(log: str, ended: ClusterJob | None) -> str:
    """The last line of the command, or Ray's reason why no command was begun."""
    message = ended.message.strip() if ended else ""
    lines = [line for line in log.splitlines() if line.strip()]
    said = lines[-1] if lines and (not message or message.startswith(_COMMAND_FAILED)) else message
    return scrub(" ".join(said.split()))[:300] or "it printed nothing"
