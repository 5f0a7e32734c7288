"""A flow as it is sent to a cluster and kept in its folder: with the files that its steps name beside it, and complete paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pixelmill.jobs.documents.parsing import Document
from pixelmill.jobs.flows.graph import checked_order, file_of
from pixelmill.jobs.flows.spec import read_flow
from pixelmill.jobs.places import absolute
from pixelmill.pipelines.stores.folder import Folder


@dataclass(frozen=True)
class SentFlow:
    document: Document
    out: Folder
    files: Mapping[str, bytes]
    own_names: frozenset[str]
    """What its references name beside the environment: its parameters, and `out`."""


def sent_flow(text: str, *, name: str, overrides: list[str], environment: Mapping[str, str]) -> SentFlow:
    """Read and check a flow. Raises JobError with every fault."""
    flow = read_flow(text, name=name, overrides=overrides, environment=environment)
    checked_order(flow, name)
    document, files = {**flow.document}, dict[str, bytes]()
    written = cast("dict[str, Document]", document["steps"])
    steps = {step: {**options} for step, options in written.items()}
    for step, spec in flow.spec.steps.items():
        words = [_complete(word) for word in cast("list[str]", steps[step]["run"])]
        path = file_of(flow, spec)
        if path is not None:
            words[1] = f"steps/{step}.yaml"
            files[words[1]] = path.read_bytes()
        steps[step]["run"] = words
        if isinstance(out := steps[step].get("out"), str):
            steps[step]["out"] = _place(out)
    document["steps"] = steps
    document["out"] = _place(str(document["out"]))
    return SentFlow(document, flow.open_out(), files, frozenset({"out", *flow.spec.parameters}))


def _place(written: str) -> str:
    """The place of an output with a complete path, whether it exists yet or not; a reference has its value where it is run."""
    return written if "${" in written else absolute(written)


def _complete(word: str) -> str:
    """A word that is a path of this machine, made complete; others stay as they are."""
    return absolute(word) if "/" in word and "://" not in word and "${" not in word and Path(word).exists() else word
