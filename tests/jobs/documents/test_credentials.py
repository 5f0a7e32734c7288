"""What carries credentials is refused wherever it stands, and not repeated."""

from __future__ import annotations

import pytest

from tests.jobs.job_files import SMALLEST, fault


@pytest.mark.parametrize(
    "uri",
    [
        "https://user:hunter2@host/x",
        "s3://AKIAXXXX:hunter2@bucket/x",
        "https://host/a.jpg?X-Amz-Signature=hunter2",
        "https://host/a.jpg?token=hunter2",
    ],
)
def test_credentials_in_a_uri_are_refused_and_not_repeated(uri: str) -> None:
    message = fault(SMALLEST, f"source={uri}")
    assert "carries credentials" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    "place", ["source.uri=[a, {}]", "out={}", "out.uri={}", "run.address={}", "stages.0.model={}", "source.pattern={}"]
)
@pytest.mark.parametrize("text", ["https://user:hunter2@host/x", "s3://b/x?sig=hunter2", "AKIAABCDEFGHHUNTER22"])
def test_credentials_are_refused_wherever_they_hide(place: str, text: str) -> None:
    message = fault(SMALLEST, place.replace("{}", text))
    assert "carries credentials" in message
    assert "hunter2" not in message.lower()
    assert "carries credentials" in fault(SMALLEST, place.replace("{}", "${HIDDEN}"), HIDDEN=text)
