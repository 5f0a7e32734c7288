"""References to the environment are replaced by their values, which no file and no message shows."""

from __future__ import annotations

import pytest

from pixelmill.jobs.job import read_job
from pixelmill.workers.errors import JobError
from tests.jobs.job_files import SMALLEST, fault, load

CANARY = "Zx9Canary7Q"


def test_the_environment_is_referred_to_and_never_written() -> None:
    text = SMALLEST.replace("photos/2024", "${BUCKET}/${YEAR:-2024}")
    job = load(text, BUCKET="secret-bucket")
    assert job.spec.source_uris == ("s3://secret-bucket/2024",)
    assert "secret-bucket" not in job.to_yaml() + str(job.identity())
    assert "${BUCKET}" in job.to_yaml()


def test_a_variable_that_is_not_set_is_named() -> None:
    assert "${BUCKET} is not set" in fault(SMALLEST.replace("photos", "${BUCKET}"))


@pytest.mark.parametrize(
    "override",
    [
        "source.in_flight=${SECRET}",
        "source.in_flight=a${SECRET}b",
        "source.format=${SECRET}",
        "source.anon=${SECRET}",
        "source.uri=[1, {a: '${SECRET}'}]",
        "out={uri: [ '${SECRET}' ]}",
        "stages.0.model=${SECRET}",
        "stages.0.model=torchvision:${SECRET}",
        "stages.0.model=torchvision:resnet18/${SECRET}",
        "stages.0.model=timm:${SECRET}",
        "stages.0.model=${SECRET}.safetensors",
        "stages.0.model=${SECRET}.pkl",
        "stages=[{embed: {column: '${SECRET}'}}, {embed: {column: '${SECRET}'}}]",
        "run.actors=${SECRET}",
        "version=${SECRET}",
        "stages=${SECRET}",
        "stages=[{embed: ${SECRET}}, ${SECRET}]",
    ],
)
@pytest.mark.parametrize(
    "form", [CANARY, f"x {CANARY}'\"\\", f"{CANARY}/{CANARY}", f"torchvision:{CANARY}", f"resnet18{CANARY}"]
)
def test_a_wrong_value_of_the_environment_is_shown_as_its_reference(override: str, form: str) -> None:
    message = fault(SMALLEST, override, SECRET=form)
    assert CANARY.casefold() not in message.casefold()


def test_the_reason_stays_where_it_does_not_show_the_value() -> None:
    message = fault(SMALLEST, "stages.0.model=torchvision:resnet18/${SECRET}", SECRET=CANARY)
    assert "model torchvision:resnet18/${SECRET}: resnet18 has no weights ${SECRET}; it has IMAGENET1K_V1" in message


def test_where_the_reason_shows_a_part_of_the_value_the_reference_is_all_that_is_reported() -> None:
    message = fault(SMALLEST, "stages.0.model=${SECRET}", SECRET=f"torchvision:{CANARY}")
    assert message.startswith("job.yaml: a value of the environment can't be used: ${SECRET}; ")
    assert CANARY not in message


def test_the_reference_of_a_wrong_value_is_named_even_when_the_value_is_short() -> None:
    for value in ("abc", CANARY):
        message = fault(SMALLEST, "source.in_flight=${SECRET}", SECRET=value)
        assert "the value of ${SECRET} is not" in message
        assert value not in message


def test_credentials_of_the_environment_are_shown_as_their_reference() -> None:
    message = fault(SMALLEST, "source=${PLACE}/photos", PLACE=f"https://user:{CANARY}@{CANARY}.org")
    assert "${PLACE}/photos carries credentials" in message
    assert CANARY not in message


def test_a_job_file_below_a_folder_of_the_environment_is_named_as_it_is() -> None:
    with pytest.raises(JobError, match=r"^/home/alexander/job\.yaml: this job can't be run"):
        read_job(
            SMALLEST + "colour: ${HOME}\n", name="/home/alexander/job.yaml", overrides=[],
            environment={"HOME": "/home/alexander"},
        )  # fmt: skip
