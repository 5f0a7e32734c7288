"""The flow file: steps, each a command of Pixelmill, and what each needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import AfterValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from pixelmill.jobs.documents.faults import KnownKeys
from pixelmill.jobs.documents.parsing import Document, Parsed
from pixelmill.jobs.documents.reading import checked, read_document
from pixelmill.jobs.documents.references import expanded
from pixelmill.jobs.places import Place, absolute
from pixelmill.jobs.spec import Limits, Strict
from pixelmill.pipelines.stores.access import Access, join
from pixelmill.pipelines.stores.folder import Folder

STAGE_COMMANDS = frozenset(
    {"classify", "depth", "embed", "encode", "reconstruct", "segment", "stylize", "synthesize", "upscale"}
)
COMMANDS: frozenset[str] = frozenset({"run", "retry", "export", "train", "eval", "generate", "ct", *STAGE_COMMANDS})
"""The commands that a step may be: those that make something and end."""
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
RESERVED = frozenset({"out"})


def _named(steps: Mapping[str, object]) -> Mapping[str, object]:
    for name in steps:
        if not _NAME.fullmatch(name) or name in RESERVED:
            raise ValueError(
                f"{name!r} is no name of a step: it begins with a letter, goes on with a-z, 0-9, - and _, has at most 40 "
                "characters, and is not `out`"
            )
    return steps


def _command(words: list[str]) -> list[str]:
    if words[0] not in COMMANDS:
        raise ValueError(f"{words[0]} is no command of a step; there are {', '.join(sorted(COMMANDS))}")
    return words


class StepSpec(Strict):
    """One step."""

    run: Annotated[list[str], Field(min_length=1), AfterValidator(_command)] = Field(
        description="the words of the command after `pixelmill`; ${out} is the step's folder, ${STEP.out} that of another step"
    )
    needs: list[str] = Field(
        default_factory=list, description="steps that must be done before; one named by ${STEP.out} is"
    )
    out: Place | None = Field(None, description="folder of the step; by default one with its name below the flow's")
    cpus: PositiveFloat | None = Field(
        None,
        description="CPUs that it takes, so that others may run beside it, and by which its workers are counted unless it "
        "says run.actors; by default all that there are",
    )
    gpus: NonNegativeFloat = Field(0, description="GPUs that it takes")
    always: bool = Field(False, description="run it each time, though it is done: for what may have new inputs")
    retries: NonNegativeInt | None = Field(None, description="as run.retries, for this step")


class FlowSpec(Strict):
    """A flow of Pixelmill."""

    version: Literal[1] = Field(description="of this format")
    out: Place = Field(
        description="the flow's own folder: who runs it, its log, and by default the folders of its steps"
    )
    parameters: dict[str, str | int | float] = Field(
        default_factory=dict[str, str | int | float], description="for ${NAME}"
    )
    steps: Annotated[dict[str, StepSpec], Field(min_length=1), AfterValidator(_named)]
    run: Limits = Field(default_factory=lambda: Limits.model_validate({}))


@dataclass(frozen=True)
class Flow:
    """A flow: `document` is the file as written, `folder` the one that the job files of its steps are relative to."""

    document: Document
    spec: FlowSpec
    folder: Path
    environment: Mapping[str, str]

    def open_out(self) -> Folder:
        return Folder(absolute(self.spec.out), Access())

    def written(self, name: str) -> list[str]:
        """The words of a step as they were written, without values of the environment."""
        steps = cast("dict[str, Document]", self.document["steps"])
        return [str(word) for word in cast("list[object]", steps[name]["run"])]

    def step_out(self, name: str) -> str:
        """The folder of a step."""
        written = self.spec.steps[name].out
        return join(absolute(self.spec.out), name) if written is None else absolute(written)


def read_flow(text: str, *, name: str, overrides: list[str], environment: Mapping[str, str]) -> Flow:
    """The flow of a file. Raises JobError with every fault of its keys; `graph.check` looks at the steps together."""
    what = "a flow file is a mapping with version, out and steps"
    parsed = read_document(text, name=name, what=what, overrides=overrides)
    values = {**environment, **_parameters(parsed, environment, name)}
    with checked(parsed, FlowSpec, _known_keys(), name=name, kind="flow", environment=_OfTheFlow(values)) as spec:
        return Flow(parsed.document, spec, Path(name).resolve().parent, environment)


def _parameters(parsed: Parsed, environment: Mapping[str, str], name: str) -> dict[str, str]:
    written = parsed.document.get("parameters")
    if not isinstance(written, dict):
        return {}
    found = cast("dict[str, object]", expanded(cast("object", written), environment, name))
    return {key: str(value) for key, value in found.items()}


class _OfTheFlow(dict[str, str]):
    """Environment and parameters; `out` stands for itself, since it is another folder in each step."""

    def get(self, key: str, default: str | None = None) -> str | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        return "${out}" if key == "out" else super().get(key, default)


def _known_keys() -> KnownKeys:
    def beside(path: list[int | str]) -> list[str]:
        return list(StepSpec.model_fields) if path and path[0] == "steps" else list(FlowSpec.model_fields)

    return KnownKeys(beside, [*FlowSpec.model_fields, *(f"steps.NAME.{key}" for key in StepSpec.model_fields)])
