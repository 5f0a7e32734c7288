"""One step: its words with everything filled in, its identity, its inputs, and whether it is done.

    OUT/_SUCCESS          that the command was complete; it writes it itself, or the flow does for a command that makes no folder
    OUT/_run/step.json    what made it: the command, the digests of its inputs, and the digest of _SUCCESS as it was then

A step is done when all three still agree. A change of its command, of a file that it names or of an output that it reads makes it
run again, and the command itself does only what is missing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from pixelmill.jobs.flows.graph import OF_A_STEP, file_of, needs_of
from pixelmill.jobs.flows.spec import Flow
from pixelmill.pipelines.outputs.attempt import PASSING
from pixelmill.pipelines.outputs.columns import DATA, FAILED, SUCCESS
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.json_files import mapping_in
from pixelmill.workers.errors import JobError

STEP = "_run/step.json"


@dataclass(frozen=True)
class Stamp:
    """What made the output of a step."""

    identity: str
    inputs: Mapping[str, str]
    success: str


@dataclass(frozen=True)
class Step:
    """A step whose needs are done."""

    name: str
    words: tuple[str, ...]
    out: str
    identity: str
    inputs: Mapping[str, str]

    @property
    def folder(self) -> Folder:
        return Folder(self.out, Access())

    def is_done(self) -> bool:
        """Whether its output was made by this command from these inputs, and is complete."""
        folder = self.folder
        stored, success = mapping_in(folder.read(STEP)), folder.read(SUCCESS)
        if success is None or not stored:
            return False
        return stored == asdict(Stamp(self.identity, dict(self.inputs), _digest_of_success(success)))

    def finish(self, words: tuple[str, ...]) -> None:
        """Record what made the output, after the command was complete. `words` are those of the file, without values."""
        folder = self.folder
        if folder.read(SUCCESS) is None:
            folder.publish(SUCCESS, json.dumps({"command": list(words)}, indent=1).encode())
        stamp = Stamp(self.identity, dict(self.inputs), _digest_of_success(folder.read(SUCCESS) or b""))
        folder.publish(STEP, json.dumps(asdict(stamp), indent=1).encode())


def step_of(flow: Flow, name: str) -> Step:
    """The step with the outputs of its needs filled in. Raises JobError where one has no such value."""
    spec, out = flow.spec.steps[name], flow.step_out(name)
    words = [_filled(flow, name, word.replace("${out}", out)) for word in spec.run]
    path = file_of(flow, spec)
    if path is not None:
        words[1] = str(path)
    inputs = {need: digest_of_output(Folder(flow.step_out(need), Access())) for need in sorted(needs_of(spec))}
    return Step(name, tuple(words), out, _identity(words, path), inputs)


def _identity(words: list[str], path: Path | None) -> str:
    """A hash of the command and of the content of the file that it names, wherever that lies."""
    content = None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()
    named = words if path is None else [words[0], *words[2:]]
    return hashlib.sha256(json.dumps([named, content]).encode()).hexdigest()


def _filled(flow: Flow, name: str, word: str) -> str:
    def value(step: str, path: str) -> str:
        if path == "out":
            return flow.step_out(step)
        success = mapping_in(Folder(flow.step_out(step), Access()).read(SUCCESS))
        found: object = success
        for key in path.split("."):
            found = cast("dict[str, object]", found).get(key) if isinstance(found, dict) else None
        if not isinstance(found, str | int | float):
            raise JobError(
                f"steps.{name}: ${{{step}.{path}}}: the _SUCCESS of {step} has no such value; it has "
                f"{', '.join(success) or 'none'}"
            )
        return str(found)

    return OF_A_STEP.sub(lambda match: value(match[1], match[2]), word)


def digest_of_output(folder: Folder) -> str:
    """A hash of what an output holds: what its _SUCCESS says, and the names of its parts, which never change their content."""
    names = [*folder.names(DATA), *folder.names(FAILED)]
    said = _digest_of_success(folder.read(SUCCESS) or b"")
    return hashlib.sha256(json.dumps([said, names]).encode()).hexdigest()


def _digest_of_success(data: bytes) -> str:
    lasting = {key: value for key, value in mapping_in(data).items() if key not in PASSING}
    return hashlib.sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()
