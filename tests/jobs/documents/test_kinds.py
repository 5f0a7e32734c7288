"""A file is a job, a training or a flow by the keys at its top."""

from __future__ import annotations

import pytest

from pixelmill.jobs.documents.kinds import Kind, kind_of
from pixelmill.workers.errors import JobError


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("source: a\nout: b\nstages: []\n", "job"),
        ("recipe: vae\ndata: a\n", "training"),
        ("steps: {a: {run: []}}\n", "flow"),
        ("steps: {}\nrecipe: vae\n", "flow"),
        ("{}\n", "job"),  # the reader of jobs says what is missing
        ("settings: {steps: 3}\nrecipe: vae\n", "training"),
    ],
)
def test_the_keys_at_the_top_decide(text: str, kind: Kind) -> None:
    assert kind_of(text, "a.yaml") == kind


@pytest.mark.parametrize("text", ["- a\n", "just words\n", "a: [\n", "", "steps\n"])
def test_what_is_no_mapping_is_refused_by_the_name_of_its_file(text: str) -> None:
    with pytest.raises(JobError, match=r"a\.yaml"):
        kind_of(text, "a.yaml")
