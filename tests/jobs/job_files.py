"""The smallest job file, read with changes: the job that it becomes, or the fault that is found in it."""

from __future__ import annotations

import pytest

from pixelmill.jobs.job import Job, read_job
from pixelmill.workers.errors import JobError

SMALLEST = """\
version: 1
source: s3://photos/2024
out: s3://results/2024
stages:
  - embed: {model: "torchvision:resnet18/random"}
"""


def load(text: str, *overrides: str, **environment: str) -> Job:
    return read_job(text, name="job.yaml", overrides=list(overrides), environment=environment)


def fault(text: str, *overrides: str, **environment: str) -> str:
    with pytest.raises(JobError) as raised:
        load(text, *overrides, **environment)
    return str(raised.value)
