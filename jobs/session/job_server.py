"""The job server of a Ray cluster, at the address of its dashboard: submit, ask, read the log, stop."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from pixelmill.jobs.session import cluster
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import ClusterUnreachable, JobError, PixelmillError

REQUEST_S = 60.0
"""The longest that one request may take; Ray's client itself would wait for ever."""
OVERRIDING = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Variables that Ray's client takes in place of the address that it is given, the first before the second."""

JobStatus = Literal["PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED"]
OVER: frozenset[JobStatus] = frozenset({"STOPPED", "SUCCEEDED", "FAILED"})


@dataclass(frozen=True)
class ClusterJob:
    """A job as the cluster knows it. `exit_code` is that of its command, where it ended by itself."""

    status: JobStatus
    message: str = ""
    exit_code: int | None = None

    @property
    def is_over(self) -> bool:
        return self.status in OVER


@dataclass(frozen=True)
class JobRequest:
    """What is submitted. `environment` and `metadata` are shown to everyone who may see the dashboard."""

    submission_id: str
    entrypoint: str
    working_dir: str
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    cpus: float | None = None
    resources: Mapping[str, float] = field(default_factory=dict[str, float])


def address_of(given: str | None, environment: Mapping[str, str]) -> tuple[str, str | None]:
    """The address of the dashboard, and a note where the environment overrides what was given. Raises JobError where
    there is none, or none of a dashboard.
    """
    name = next((name for name in OVERRIDING if environment.get(name)), None)
    address = environment[name] if name else given
    if not address:
        raise JobError("submit: name a cluster with --address http://HEAD:8265, or set RAY_API_SERVER_ADDRESS to that")
    said = f"{name}={scrub(address)}" if name else f"--address {scrub(address)}"
    overrides = name is not None and given is not None and given.rstrip("/") != address.rstrip("/")
    _require_dashboard(address, said, f" (it overrides --address {scrub(given or '')})" if overrides else "")
    note = f"{said} overrides --address {scrub(given or '')}, as in all commands of Ray" if overrides else None
    return address.rstrip("/"), note


def _require_dashboard(address: str, said: str, overridden: str) -> None:
    try:
        place = urlsplit(address)
        usable = place.scheme in {"http", "https"} and place.hostname and (place.port or True)
    except ValueError:
        usable = False
    if not usable:
        raise JobError(
            f"{said}{overridden}: is not the address of a dashboard; jobs are submitted to http://HEAD:8265, where HEAD is "
            "the head node" + (f", or unset {said.partition('=')[0]}" if overridden else "")
        )


class JobServer:
    """Raises ClusterUnreachable where nobody answers, JobError where the answer is a refusal."""

    def __init__(self, address: str) -> None:
        self.address = address
        _require_answer(address)
        self._client = self._call(lambda: _patient_client(address))

    @property
    def ray_version(self) -> str:
        """The version that runs on the cluster."""
        return str(self._call(self._client.get_version_of_cluster))

    def submit(self, request: JobRequest) -> bool:
        """Submit; False where a job with this id exists already."""
        environment: dict[str, object] = {
            "working_dir": request.working_dir,
            "env_vars": dict(request.environment),
        }

        def send() -> bool:
            try:
                self._client.submit_job(
                    entrypoint=request.entrypoint,
                    submission_id=request.submission_id,
                    runtime_env=environment,
                    metadata=dict(request.metadata),
                    entrypoint_num_cpus=request.cpus,
                    entrypoint_resources=dict(request.resources) or None,
                )
            except RuntimeError as error:
                if "already exists" in str(error):
                    return False
                raise
            return True

        return self._call(send)

    def find(self, submission_id: str) -> ClusterJob | None:
        """The job of this id; None where the cluster has none."""

        def ask() -> ClusterJob | None:
            try:
                found = self._client.get_job_info(submission_id)
            except RuntimeError as error:
                if "404" in str(error) or "does not exist" in str(error):
                    return None
                raise
            return ClusterJob(cast("JobStatus", str(found.status.value)), found.message or "", found.driver_exit_code)

        return self._call(ask)

    def log(self, submission_id: str) -> str:
        """What the command of the job printed so far."""
        return self._call(lambda: str(self._client.get_job_logs(submission_id)))

    def stop(self, submission_id: str) -> None:
        """Ask the cluster to end a job: SIGTERM, and SIGKILL after RAY_JOB_STOP_WAIT_TIME_S of its environment."""
        self._call(lambda: self._client.stop_job(submission_id))

    def _call(self, request: Any) -> Any:
        try:
            return request()
        except PixelmillError:
            raise
        except Exception as error:  # Ray's client raises what requests, Python and Ray raise
            raise _explained(error, scrub(self.address)) from error


def _explained(error: Exception, what: str) -> JobError:
    from requests.exceptions import RequestException

    if cluster.is_wrong_token(error):
        return JobError(f"{what}: {cluster.WRONG_TOKEN}")
    if isinstance(error, ConnectionError | RequestException):
        return ClusterUnreachable(f"{what}: no job server answers there ({_first_line(error)})")
    if "No available agent" in str(error):
        return ClusterUnreachable(
            f"{what}: the head has no agent that takes jobs yet; if it stays so, dashboard_agent.log on the head says why "
            "(of several Rays on one machine, each needs its own --dashboard-agent-listen-port)"
        )
    if "status code 5" in str(error):  # a head that is going down, or one behind a proxy
        return ClusterUnreachable(f"{what}: the job server fails ({_first_line(error)})")
    return JobError(f"{what}: the job server refuses: {_first_line(error)}")


def _patient_client(address: str) -> Any:
    """Ray's client, whose requests end."""
    from ray.job_submission import JobSubmissionClient

    class _Client(cast("Any", JobSubmissionClient)):
        def _do_request(self, method: str, endpoint: str, **options: Any) -> Any:
            return cast("Any", super()._do_request(method, endpoint, timeout=REQUEST_S, **options))  # pyright: ignore[reportUnknownMemberType]

        def get_version_of_cluster(self) -> str:
            return str(self._do_request("GET", "/api/version").json()["ray_version"])

    return _Client(address)


def _require_answer(address: str) -> None:
    place = urlsplit(address)
    port = place.port or (443 if place.scheme == "https" else 80)
    try:
        socket.create_connection((place.hostname or "", port), timeout=10).close()
    except OSError as error:
        raise ClusterUnreachable(
            f"{scrub(address)}: no job server answers there ({error}); is the head node up, and its dashboard installed "
            "(ray[default]) and reachable from here?"
        ) from error


def _first_line(error: BaseException) -> str:
    return scrub(str(error)).strip().partition("\n")[0][:300] or type(error).__name__
