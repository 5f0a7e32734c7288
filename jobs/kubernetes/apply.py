"""The program of a CronJob's pod: apply one RayJob of a fixed name, and wait for its end.

    python -m pixelmill.jobs.kubernetes.apply rayjob.json

It talks to the API server with the pod's service account. A RayJob of this name that still runs is not begun again but
waited for: it may be that of a pod before this one, which was moved away. A finished one is deleted first. Exit codes: 0
where the RayJob succeeded, 1 where it failed, 2 where it can't be applied, 3 where the API server was away for too long,
which is worth a retry.
"""

from __future__ import annotations

import json
import ssl
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast
from urllib.error import HTTPError

from pixelmill.jobs import surroundings

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
ENDED = frozenset({"Complete", "Failed"})
POLL_S = 10.0
AWAY_S = 600.0
"""How long the API server may not answer, as while a cluster is upgraded."""
REQUEST_S = 30.0
PASSING = frozenset({408, 409, 429, 500, 502, 503, 504})


class Refused(Exception):
    """The API server refuses for good, with its message."""


class Away(Exception):
    """The API server has not answered for AWAY_S."""


@dataclass(frozen=True)
class Api:
    """The API server as a pod sees it."""

    server: str
    account: Path = ACCOUNT
    poll_s: float = POLL_S
    away_s: float = AWAY_S

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """The object that it answers with; None where there is no such object. Raises Refused and Away."""
        until_s = time.monotonic() + self.away_s
        while True:
            try:
                return self._once(method, path, body)
            except HTTPError as error:
                with error:
                    if error.code == HTTPStatus.NOT_FOUND:
                        return None
                    last = f"{error.code} {_message(error)}"
                if error.code not in PASSING or (error.code == HTTPStatus.CONFLICT and method == "POST"):
                    raise Refused(f"{method} {path}: {last}") from error
            except OSError as error:
                last = str(error)
            if time.monotonic() > until_s:
                raise Away(f"{self.server}: has not answered for {self.away_s:g} s ({last})")
            time.sleep(self.poll_s)

    def _once(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        request = urllib.request.Request(f"{self.server}{path}", method=method)
        request.add_header("Authorization", f"Bearer {self._read('token').strip()}")  # kubelet replaces it each hour
        request.add_header("Content-Type", "application/json")
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(request, data, timeout=REQUEST_S, context=self._trust()) as answer:
            return json.loads(answer.read() or b"{}")

    def _trust(self) -> ssl.SSLContext | None:
        return (
            ssl.create_default_context(cafile=str(self.account / "ca.crt")) if self.server.startswith("https") else None
        )

    def _read(self, name: str) -> str:
        return (self.account / name).read_text(encoding="utf-8")


def _message(error: HTTPError) -> str:
    try:
        return str(json.loads(error.read())["message"])[:500]
    except (ValueError, KeyError, TypeError):
        return str(error.reason)


def status_of(found: Mapping[str, Any]) -> str:
    """The deployment status of a RayJob; empty before it has one."""
    return _in_status(found, "jobDeploymentStatus")


def _in_status(found: Mapping[str, Any], key: str) -> str:
    return str(cast("dict[str, object]", found.get("status") or {}).get(key) or "")


def apply(api: Api, job: Mapping[str, Any], say: Callable[[str], None]) -> str:
    """Apply the RayJob and wait for its end; returns its last deployment status, or Deleted where somebody removed it."""
    collection = f"/apis/ray.io/v1/namespaces/{job['metadata']['namespace']}/rayjobs"
    path = f"{collection}/{job['metadata']['name']}"
    found = api.call("GET", path)
    if found is not None and status_of(found) in ENDED:
        say("deletes the RayJob of the last time")
        api.call("DELETE", path, {"propagationPolicy": "Foreground"})
        while api.call("GET", path) is not None:
            time.sleep(api.poll_s)
        found = None
    if found is None:
        say("applies the RayJob")
        found = _created(api, collection, path, job)
    else:
        say("waits for the RayJob that runs already")
    return _end_of(api, path, found, say)


def _created(api: Api, collection: str, path: str, job: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        made = api.call("POST", collection, job)
    except Refused:
        if (found := api.call("GET", path)) is None:
            raise
        return found  # ours, where the answer was lost, or that of somebody who was quicker
    if made is None:
        raise Refused(f"{collection}: there are no RayJobs on this cluster; install KubeRay 1.5 or newer")
    return made


def _end_of(api: Api, path: str, found: Mapping[str, Any] | None, say: Callable[[str], None]) -> str:
    last = ""
    while found is not None:
        if (now := status_of(found)) != last:
            say(f"{now}: {_in_status(found, 'message') or 'no message'}")
        if now in ENDED:
            return now
        last = now
        time.sleep(api.poll_s)
        found = api.call("GET", path)
    return "Deleted"


def main() -> int:
    environment = surroundings.of_process(quiet=True).environment
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")

    def say(text: str) -> None:
        sys.stderr.write(f"{text}\n")

    if host is None:
        say(
            "KUBERNETES_SERVICE_HOST is not set: this runs in a pod of the CronJob that `pixelmill kubernetes --schedule` writes"
        )
        return 2
    job = json.loads(Path(surroundings.typed()[0]).read_text(encoding="utf-8"))
    bracketed = f"[{host}]" if ":" in host else host
    try:
        return 0 if apply(Api(f"https://{bracketed}:{port}"), job, say) == "Complete" else 1
    except Refused as error:
        say(str(error))
        return 2
    except Away as error:
        say(str(error))
        return 3


if __name__ == "__main__":
    sys.exit(main())
