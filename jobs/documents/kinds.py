"""Which kind of file a user gave: a job, a recipe of a training, or a flow."""

from __future__ import annotations

from typing import Literal

from pixelmill.jobs.documents.parsing import parse

Kind = Literal["job", "training", "flow"]
WHAT = (
    "a file is a mapping: a job with source, out and stages, a training with recipe, data and out, or a flow with steps"
)


def kind_of(text: str, name: str) -> Kind:
    """By the keys at the top of the file. Raises JobError where it is no mapping in YAML."""
    document = parse(text, name=name, what=WHAT).document
    if "steps" in document:
        return "flow"
    return "training" if "recipe" in document else "job"
