"""The steps of a flow as a graph: what needs what, in which order, and what can't be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Literal

from pixelmill.jobs.documents.parsing import parse, read_file
from pixelmill.jobs.documents.references import texts
from pixelmill.jobs.flows.spec import Flow, StepSpec
from pixelmill.pipelines.inputs.names import is_local, place_of
from pixelmill.workers.errors import JobError

OF_A_STEP = re.compile(r"\$\{([a-z][a-z0-9_-]*)\.([\w.]+)\}")
"""`${embed.out}`, or a value of the step's _SUCCESS: `${embed.done}`."""
_SETTING = re.compile(r"([a-z][\w.]*)=(.*)")
"""A word behind --set."""
_SOURCES = ("source", "data")
FILES: frozenset[str] = frozenset({"run", "train"})
"""The commands whose first word may name a file."""


def needs_of(step: StepSpec) -> tuple[str, ...]:
    """The steps that must be done before: those that are named, and those whose outputs are."""
    named = [match[1] for word in step.run for match in OF_A_STEP.finditer(word)]
    return tuple(dict.fromkeys([*step.needs, *named]))


def checked_order(flow: Flow, name: str) -> list[str]:
    """The steps in an order in which each follows what it needs. Raises JobError for an unknown step, a cycle, or a step that
    would write into what it or another one reads."""
    steps = flow.spec.steps
    for step, spec in steps.items():
        for need in needs_of(spec):
            if need not in steps:
                raise JobError(f"{name}: steps.{step}.needs: there is no step {need}; there are {', '.join(steps)}")
        _check_file(flow, name, step, spec)
    try:
        order = list(TopologicalSorter({step: needs_of(spec) for step, spec in steps.items()}).static_order())
    except CycleError as error:
        cycle = " needs ".join(reversed(error.args[1]))
        raise JobError(f"{name}: steps: {cycle}, which never begins; leave one of these needs out") from error
    _check_places(flow, name)
    return order


def file_of(flow: Flow, spec: StepSpec) -> Path | None:
    """The job or recipe file that a step names; None where its command names none."""
    if spec.run[0] not in FILES or len(spec.run) < 2 or not spec.run[1].endswith((".yaml", ".yml")):
        return None
    return flow.folder / spec.run[1]


def _check_file(flow: Flow, name: str, step: str, spec: StepSpec) -> None:
    path = file_of(flow, spec)
    if path is not None and not path.is_file():
        raise JobError(f"{name}: steps.{step}: there is no file {path}; a job file is relative to the flow's own")
    if spec.run[0] == "run" and path is None:
        raise JobError(f"{name}: steps.{step}: `run` needs a job file, as in run: [run, embed.yaml]")


def _check_places(flow: Flow, name: str) -> None:
    outs = {step: flow.step_out(step) for step in flow.spec.steps}
    for step, place in outs.items():
        if relation(place, flow.spec.out) in {"same", "around"}:
            raise JobError(
                f"{name}: steps.{step}.out: {place} is, or holds, the flow's own folder; give it one of its own"
            )
    for step, spec in flow.spec.steps.items():
        for other in needs_of(spec):
            _refuse_overlap(name, step, outs[step], f"writes into its own input, the folder of {other}", outs[other])
    for step, spec in flow.spec.steps.items():
        for other, place in outs.items():
            if other != step:
                _refuse_overlap(name, step, outs[step], f"writes where another does, {other}", place)
        for place in _places_read(flow, spec):
            if relation(place, outs[step]) in {"same", "inside"}:
                raise JobError(
                    f"{name}: steps.{step}.out: {outs[step]} is, or holds, what the step reads ({place}); give "
                    "it a folder of its own"
                )


def _places_read(flow: Flow, spec: StepSpec) -> Iterator[str]:
    """The places that a step reads as far as they are written out: in its words, in values of --set, and in the file it names."""
    settings = [match for word in spec.run[1:] if (match := _SETTING.fullmatch(word))]
    read = [match[2] for match in settings if match[1].startswith(_SOURCES)]
    path = file_of(flow, spec)
    if path is not None and not read:
        document = parse(read_file(str(path)), name=str(path), what="a mapping").document
        read += [text for key in _SOURCES for text in texts(document.get(key))]
    words = [word for word in spec.run[1:] if "/" in word and not _SETTING.fullmatch(word)]
    yield from (place for place in [*words, *read] if "${" not in place)


def _refuse_overlap(name: str, step: str, out: str, fault: str, place: str) -> None:
    if relation(out, place) is not None:
        raise JobError(f"{name}: steps.{step}.out: {out} {fault} ({place}); give it a folder of its own")


def relation(place: str, other: str) -> Literal["same", "inside", "around"] | None:
    """How one place lies to another."""
    if is_local(place) != is_local(other):
        return None
    here, there = f"{place_of(place).rstrip('/')}/", f"{place_of(other).rstrip('/')}/"
    if here == there:
        return "same"
    if here.startswith(there):
        return "inside"
    return "around" if there.startswith(here) else None
