"""Where Ray is: its address, its token, its version, and the nodes that it has."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast
from urllib.error import HTTPError
from urllib.parse import urlsplit

from pixelmill.jobs import checks
from pixelmill.jobs.doctor.findings import Finding, fault, ok, warning
from pixelmill.jobs.session import cluster
from pixelmill.jobs.versions import versions
from pixelmill.pipelines.placement import described
from pixelmill.workers.errors import JobError

ANSWER_S = 10.0
GET_TOKEN = "set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to a file, to what `ray get-auth-token` prints on the head node"


def examine_token(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Without asking anybody: whether there is a token where one is asked for. The token itself is never shown."""
    mode, path = environment.get("RAY_AUTH_MODE"), environment.get("RAY_AUTH_TOKEN_PATH")
    if mode not in (None, "", "token", "disabled"):
        yield fault("token", f"RAY_AUTH_MODE is {mode}; Ray knows token and disabled", "set it to one of these")
    elif environment.get("RAY_AUTH_TOKEN"):
        yield ok("token", "RAY_AUTH_TOKEN is set")
    elif path:
        yield _token_file(Path(path))
    elif mode == "token" and not (Path.home() / ".ray" / "auth_token").is_file():
        yield fault("token", "RAY_AUTH_MODE is token, and there is none", GET_TOKEN)
    else:
        yield ok("token", "none is asked for" if mode != "token" else "~/.ray/auth_token")


def _token_file(path: Path) -> Finding:
    try:
        is_empty = not path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        return fault("token", f"RAY_AUTH_TOKEN_PATH {path} can't be read ({error.__class__.__name__})", GET_TOKEN)
    if is_empty:
        return fault("token", f"RAY_AUTH_TOKEN_PATH {path} is empty", GET_TOKEN)
    return ok("token", f"in {path}")


def examine_address(given: str | None, environment: Mapping[str, str]) -> Iterator[Finding]:
    """The cluster at this address, or at RAY_ADDRESS; none where neither is given."""
    variable = environment.get("RAY_ADDRESS")
    if given and variable and variable != given:
        yield warning(
            "address",
            f"RAY_ADDRESS is {variable}, and `ray job submit` and Ray's own client take it before {given}",
            "unset RAY_ADDRESS",
        )
    address = given or variable
    if not address or address == "local":
        yield ok("address", "none: a job starts a Ray of its own here")
    elif urlsplit(address).scheme in {"http", "https"}:
        yield from _dashboard(address.rstrip("/"), environment)
    else:
        cluster.refuse_unusable_address(address)
        nodes = checks.nodes_of(address)
        yield ok("address", f"{address} answers; nodes: {described(nodes)}")
        if not any(node.cpus for node in nodes):
            yield warning(
                "nodes",
                "no node has a CPU for work",
                "name the nodes that the cluster may start as run.node_groups, or start some",
            )


def _dashboard(address: str, environment: Mapping[str, str]) -> Iterator[Finding]:
    try:
        found = _version_at(address, environment.get("RAY_AUTH_TOKEN"))
    except HTTPError as error:
        with error:
            if error.code in {401, 403}:
                yield fault("address", f"{address} refuses the token ({error.code})", GET_TOKEN)
            else:
                yield fault(
                    "address", f"{address} answers {error.code} for /api/version", "check that it is Ray's dashboard"
                )
        return
    except (OSError, ValueError) as error:
        raise JobError(f"{address}: no dashboard of Ray answers ({error}); check host, port and network") from error
    here = versions()["ray"]
    if found != here:
        yield fault(
            "address",
            f"{address} runs Ray {found}, and here is Ray {here}",
            f"pip install 'ray=={found}', or use an image with Ray {here}: the two can't work together",
        )
    else:
        yield ok("address", f"{address} runs Ray {found}, as here")


def _version_at(address: str, token: str | None) -> str:
    request = urllib.request.Request(f"{address}/api/version")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
        found: object = json.loads(answer.read())
    if not isinstance(found, dict) or "ray_version" not in found:
        raise ValueError("the answer has no ray_version")
    return str(cast("dict[str, object]", found)["ray_version"])
