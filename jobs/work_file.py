"""A file of any kind that a user wrote, read and checked as the command that runs it will, to be run somewhere else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pixelmill.jobs.documents.kinds import Kind, kind_of
from pixelmill.jobs.documents.parsing import Document, read_file

_FILE_NAME = re.compile(r"[-._a-zA-Z0-9]+\.ya?ml")


@dataclass(frozen=True)
class WorkFile:
    """The document with its references to the environment, and the text of each file beside it that a flow names."""

    kind: Kind
    document: Document
    beside: Mapping[str, str] = field(default_factory=dict[str, str])


def read_work_file(path: str, environment: Mapping[str, str]) -> WorkFile:
    """Raises JobError with every fault, as the run itself would before it starts anything."""
    text = read_file(path)
    kind = kind_of(text, path)
    if kind == "training":
        from pixelmill.jobs.training.job import read_recipe_file

        return WorkFile(kind, read_recipe_file(text, name=path, overrides=[], environment=environment).document)
    if kind == "flow":
        return _flow(text, path, environment)
    from pixelmill.jobs.job import read_job

    return WorkFile(kind, read_job(text, name=path, overrides=[], environment=environment).document)


def _flow(text: str, path: str, environment: Mapping[str, str]) -> WorkFile:
    from pixelmill.jobs.flows import graph
    from pixelmill.jobs.flows.spec import read_flow

    flow = read_flow(text, name=path, overrides=[], environment=environment)
    graph.checked_order(flow, path)
    words = {word for step in flow.spec.steps.values() for word in step.run if _FILE_NAME.fullmatch(word)}
    beside = {word: Path(path).resolve().parent / word for word in sorted(words)}
    return WorkFile(
        "flow", flow.document, {word: read_file(str(place)) for word, place in beside.items() if place.is_file()}
    )
