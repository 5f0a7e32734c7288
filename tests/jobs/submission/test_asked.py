"""The words of `submit`: what each means, and which mean nothing."""

from __future__ import annotations

import pytest

from pixelmill.jobs.submission.asked import Asked
from pixelmill.workers.errors import JobError


def asked(**words: object) -> Asked:
    return Asked("job.yaml", "http://head:8265", False, False, **words)  # pyright: ignore[reportArgumentType]


def test_variables_and_resources_are_read_from_words_and_environment() -> None:
    words = asked(environment=("BUCKET", "SIZE=3=4"), secrets=("KEY",), driver_resources=("worker=0.01",), code="image")
    wanted = words.wanted({"BUCKET": "photos"})
    assert wanted.environment == {"BUCKET": "photos", "SIZE": "3=4"}
    assert (wanted.names, wanted.driver_resources, wanted.ships_code) == (("KEY",), {"worker": 0.01}, False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"environment": ("BUCKET",)}, "--env BUCKET: is not set here"),
        ({"environment": ("MY_TOKEN=hunter2-hunter2",)}, "name it with --secret MY_TOKEN"),
        ({"driver_resources": ("worker",)}, "--driver-resource worker: write NAME=AMOUNT"),
        ({"code": "wheel"}, "--code wheel: there are send"),
    ],
)
def test_words_that_mean_nothing_and_secrets_are_refused(words: dict[str, object], said: str) -> None:
    with pytest.raises(JobError) as raised:
        asked(**words).wanted({})
    assert said in str(raised.value)
    assert "hunter2" not in str(raised.value)
