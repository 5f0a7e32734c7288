"""Each fault of a document is one readable line, with path, line and suggestion, and without a secret."""

from __future__ import annotations

import pytest

from tests.jobs.job_files import SMALLEST, fault


def test_an_unknown_key_is_named_with_its_line_and_the_nearest_key() -> None:
    message = fault(SMALLEST.replace("model:", "modle:"))
    assert "stages.0.embed.modle (line 5)" in message
    assert "did you mean model?" in message


def test_an_unknown_stage_is_answered_with_the_stages_that_there_are() -> None:
    assert "did you mean embed?" in fault(SMALLEST.replace("embed:", "embd:"))


@pytest.mark.parametrize(
    ("text", "override", "line"),
    [
        ("run: {actors: -1}", "", "run.actors (line 6): should be greater than 0 or 'auto' or a mapping, not -1"),
        ("run: {actors: many}", "", "run.actors (line 6): should be a valid integer or 'auto' or a mapping, not 'many'"),
        ("run: {max_failed_fraction: 7}", "", "run.max_failed_fraction (line 6): should be less than or equal to 1, not 7"),
        ("run: 3", "", "run (line 6): should be a mapping, not 3"),
        ("", "stages.0.compile=maybe", "stages.0.embed.compile (line 5): should be a valid boolean or 'auto', not 'maybe'"),
        ("", "stages.0.pooling=mean", "should be 'auto', 'avg', 'max', 'stats', 'cls' or 'flatten', not 'mean'"),
        ("", "source.uri=[a, 5]", "source.uri.1 (line 2): should be a valid string, not 5"),
        ("", "source=5", "source (line 2): should be a valid string, not 5"),
        ("", "source.in_flight=0", "source.in_flight (line 2): should be greater than 0, not 0"),
        ("", "stages.0={}", "stages.0 (line 5): a stage names exactly one of: embed"),
        ("", "stages.0.name=../x", "stages.0.embed.name (line 5): should have the form ^[A-Za-z][A-Za-z0-9_-]*$, not '../x'"),
        ("", "stages=[]", "stages (line 4): list should have at least 1 item"),
    ],
)  # fmt: skip
def test_each_wrong_value_is_one_readable_line(text: str, override: str, line: str) -> None:
    head, *lines = fault(f"{SMALLEST}{text}\n", *filter(None, [override])).splitlines()
    assert head == "job.yaml: this job can't be run"
    assert len(lines) == 1
    assert line in lines[0]


def test_all_faults_are_reported_at_once() -> None:
    message = fault(SMALLEST.replace("version: 1\n", "") + "run: {actors: -1, acters: 2}\nlimit: 3\n")
    assert [line.split()[0].rstrip(":") for line in message.splitlines()[1:]] == [
        "version",
        "run.actors",
        "run.acters",
        "limit",
    ]


def test_a_missing_key_is_named() -> None:
    assert "out: is missing" in fault(SMALLEST.replace("out: s3://results/2024\n", ""))


@pytest.mark.parametrize("place", ["source.", "out.", "run.", "stages.0.", ""])
@pytest.mark.parametrize(
    "key", ["key", "secret", "token", "password", "aws_secret_access_key", "session_token", "credentials", "api_key"]
)
def test_credentials_have_no_key_in_a_job_file(place: str, key: str) -> None:
    message = fault(SMALLEST, f"{place}{key}=hunter2")
    assert "credentials never go into a job file" in message
    assert "hunter2" not in message


def test_a_value_that_is_repeated_in_a_fault_is_scrubbed() -> None:
    assert "hunter2" not in fault(SMALLEST, "source.in_flight=https://user:hunter2@host")
