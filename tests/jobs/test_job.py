"""A job as it was written: what decides its output is its identity, and its document is the same job."""

from __future__ import annotations

import pytest

from tests.jobs.job_files import SMALLEST, fault, load


def test_a_misspelt_model_is_refused_before_anything_starts() -> None:
    assert "resnet18" in fault(SMALLEST.replace("resnet18/random", "resnet81"))


def test_another_value_of_the_environment_is_another_job() -> None:
    text = SMALLEST.replace("photos/2024", "${BUCKET}")
    assert load(text, BUCKET="a").identity() != load(text, BUCKET="b").identity()


def test_what_only_concerns_speed_is_not_part_of_a_jobs_identity() -> None:
    fast = load(SMALLEST, "stages.0.batch=8", "run.actors=1", "source.in_flight=4", "source.limit=9")
    assert fast.identity() == load(SMALLEST).identity()


@pytest.mark.parametrize(
    "override", ["stages.0.output=float16", "stages.0.layer=layer2", "source=s3://other", "source.max_pixels=5"]
)
def test_what_decides_the_output_is_part_of_a_jobs_identity(override: str) -> None:
    assert load(SMALLEST, override).identity() != load(SMALLEST).identity()


def test_the_document_of_a_job_is_the_same_job() -> None:
    text = SMALLEST.replace("photos/2024", "${BUCKET:-photos}/2024")
    job = load(text, "run.actors=3", "source.limit=7", BUCKET="secret")
    again = load(job.to_yaml(), BUCKET="secret")
    assert again.spec == job.spec
    assert again.identity() == job.identity()
    assert load(job.to_yaml()).spec.source_uris == ("s3://photos/2024",)
