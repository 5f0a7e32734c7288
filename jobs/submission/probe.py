"""Compare a cluster with what will run on it, before it runs: `python -m pixelmill.jobs.submission.probe`, as a job of its own.

It reads the request beside the code and prints one line of JSON. Neither holds the value of a variable.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pixelmill.jobs import surroundings
from pixelmill.jobs.documents.kinds import Kind

REQUEST, FILE = "submission.json", "job.yaml"
MARK = "pixelmill-probe:"


@dataclass(frozen=True)
class Question:
    """What the cluster is asked: the variables that must be set, local paths that must be seen, and what the file means here."""

    kind: Kind
    names: tuple[str, ...]
    local_places: tuple[str, ...]
    places_digest: str

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Question:
        stored = json.loads(data)
        return cls(stored["kind"], tuple(stored["names"]), tuple(stored["local_places"]), stored["places_digest"])


@dataclass(frozen=True)
class Answer:
    """What the node found on which the command will run. `fault` is why the file can't be run there."""

    python: str
    pixelmill: str
    missing_names: tuple[str, ...] = ()
    unseen_places: tuple[str, ...] = ()
    fault: str | None = None
    is_elsewhere: bool = False
    """Whether references of the file name other places there than where it was submitted."""
    lack: str | None = None
    """What the nodes of the cluster lack for the workers that the file asks for."""

    def to_line(self) -> str:
        return f"{MARK}{json.dumps(asdict(self))}"

    @classmethod
    def from_log(cls, log: str) -> Answer | None:
        """The answer in what the probe printed; None without one."""
        lines = [line for line in log.splitlines() if line.startswith(MARK)]
        if not lines:
            return None
        stored: dict[str, Any] = json.loads(lines[-1].removeprefix(MARK))
        lists: dict[str, Any] = {key: tuple(stored[key]) for key in ("missing_names", "unseen_places")}
        return cls(**{**stored, **lists})


def answered(question: Question, text: str, environment: Mapping[str, str]) -> Answer:
    """The answer of this process to a question about the file `text`."""
    from pixelmill.jobs.versions import versions

    found = versions()
    missing = tuple(name for name in question.names if not environment.get(name))
    unseen = tuple(place for place in question.local_places if not _is_seen(place))
    fault, is_elsewhere = (None, False) if missing or unseen else _read(question, text, environment)
    lack = None if missing or unseen or fault or is_elsewhere else lack_of(question.kind, text, environment)
    return Answer(found["python"], found.get("pixelmill", ""), missing, unseen, fault, is_elsewhere, lack)


def _is_seen(place: str) -> bool:
    """Whether a local path, or the folder that it will be made in, is there; a pattern counts by the folder above it."""
    path = Path(place.removeprefix("file://").partition("*")[0])
    return path.exists() or path.parent.exists()


def _read(question: Question, text: str, environment: Mapping[str, str]) -> tuple[str | None, bool]:
    from pixelmill.jobs.submission.prepared import prepared
    from pixelmill.workers.credentials import scrub
    from pixelmill.workers.errors import PixelmillError

    try:
        found = prepared(text, name=FILE, overrides=[], environment=environment)
    except PixelmillError as error:
        return scrub(str(error)), False
    return None, found.places_digest != question.places_digest


def lack_of(kind: Kind, text: str, environment: Mapping[str, str]) -> str | None:
    """What the nodes of the cluster around this process lack for the workers of the file.

    None where they lack nothing, where there is no cluster, and for a flow, whose steps find out one by one.
    """
    from pixelmill.jobs.checks import nodes_of
    from pixelmill.jobs.session import cluster
    from pixelmill.workers.errors import NoRoom

    address = cluster.address_of(None, environment)
    if address is None or kind == "flow":
        return None
    machine, nodes = cluster.this_machine(), nodes_of(address)
    try:
        if kind == "job":
            from pixelmill.jobs.job import read_job
            from pixelmill.jobs.planning import make_plan

            run = read_job(text, name=FILE, overrides=[], environment=environment).spec.run
            make_plan(run, machine, address, nodes)
        else:
            from pixelmill.jobs.training.job import read_recipe_file
            from pixelmill.jobs.training.plan import scale_of

            training = read_recipe_file(text, name=FILE, overrides=[], environment=environment)
            scale_of(training.spec.run, machine, nodes, is_cluster=True)
    except NoRoom as error:
        return str(error)
    return None


def main() -> None:
    """Answer the request in the working directory."""
    environment = surroundings.of_process(quiet=True).environment
    question = Question.from_json(Path(REQUEST).read_bytes())
    answer = answered(question, Path(FILE).read_text(encoding="utf-8"), environment)
    os.write(1, f"{answer.to_line()}\n".encode())


if __name__ == "__main__":
    main()
