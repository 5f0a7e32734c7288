"""The job file: what is wrong is said with path, line and suggestion, and nothing secret is ever written."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from jobs import spec
from workers.errors import JobError

EXAMPLES = sorted((Path(spec.__file__).parent / "examples").glob("*.yaml"))
SMALLEST = """\
version: 1
source: s3://photos/2024
out: s3://results/2024
stages:
  - embed: {model: "torchvision:resnet18/random"}
"""


def load(text: str, *overrides: str, **environment: str) -> spec.Job:
    return spec.load(text, name="job.yaml", overrides=list(overrides), environment=environment)


def fault(text: str, *overrides: str) -> str:
    with pytest.raises(JobError) as raised:
        load(text, *overrides)
    return str(raised.value)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_a_valid_job_and_fits_the_schema(path: Path) -> None:
    text = path.read_text()
    job = load(text)
    assert job.identity()["stages"]
    keys = set(spec.schema()["properties"])
    assert set(yaml.safe_load(text)) <= keys


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5


def test_an_unknown_key_is_named_with_its_line_and_the_nearest_key() -> None:
    message = fault(SMALLEST.replace("model:", "modle:"))
    assert "stages.0.embed.modle (line 5)" in message
    assert "did you mean model?" in message


def test_an_unknown_stage_is_answered_with_the_stages_that_there_are() -> None:
    assert "did you mean embed?" in fault(SMALLEST.replace("embed:", "embd:"))


def test_every_fault_is_one_line() -> None:
    message = fault(SMALLEST + "run: {actors: -1, max_failed_fraction: 7}\n")
    lines = message.splitlines()[1:]
    assert [line.split(" ")[2] for line in lines] == ["run.actors", "run.max_failed_fraction"]
    assert "constrained" not in message


def test_a_missing_key_is_named() -> None:
    assert "out: is missing" in fault(SMALLEST.replace("out: s3://results/2024\n", ""))


def test_text_that_is_no_yaml_is_refused_with_its_line() -> None:
    assert "line 3" in fault("version: 1\nsource: a\nout: [b\n")


def test_a_misspelt_model_is_refused_before_anything_starts() -> None:
    assert "resnet18" in fault(SMALLEST.replace("resnet18/random", "resnet81"))


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


@pytest.mark.parametrize("key", ["key", "secret", "token", "password"])
def test_credentials_have_no_key_in_a_job_file(key: str) -> None:
    message = fault(SMALLEST, f"source.{key}=hunter2")
    assert "credentials never go into a job file" in message
    assert "hunter2" not in message


def test_the_environment_is_referred_to_and_never_written() -> None:
    text = SMALLEST.replace("photos/2024", "${BUCKET}/${YEAR:-2024}")
    job = load(text, BUCKET="secret-bucket")
    assert job.spec.source_uris == ("s3://secret-bucket/2024",)
    assert "secret-bucket" not in job.to_yaml() + str(job.identity())
    assert "${BUCKET}" in job.to_yaml()


def test_another_value_of_the_environment_is_another_job() -> None:
    text = SMALLEST.replace("photos/2024", "${BUCKET}")
    assert load(text, BUCKET="a").identity() != load(text, BUCKET="b").identity()


def test_a_variable_that_is_not_set_is_named() -> None:
    assert "${BUCKET} is not set" in fault(SMALLEST.replace("photos", "${BUCKET}"))


def test_set_reaches_stages_with_and_without_their_kind() -> None:
    for path in ("stages.0.batch=8", "stages.0.embed.batch=8"):
        assert load(SMALLEST, path).spec.configs[0].model_dump()["batch"] == 8


def test_set_reaches_into_a_source_that_was_written_short() -> None:
    job = load(SMALLEST, "source.limit=5", "out.file_mb=64")
    assert job.spec.source_options.limit == 5
    assert job.spec.source_uris == ("s3://photos/2024",)
    assert job.spec.out_options.file_mb == 64


@pytest.mark.parametrize("override", ["stages.0.batch", "stages.7.batch=1", "stages.x.batch=1"])
def test_a_set_that_reaches_nothing_is_refused(override: str) -> None:
    assert f"--set {override}" in fault(SMALLEST, override)


def test_what_only_concerns_speed_is_not_part_of_a_jobs_identity() -> None:
    fast = load(SMALLEST, "stages.0.batch=8", "run.actors=1", "source.in_flight=4", "source.limit=9")
    assert fast.identity() == load(SMALLEST).identity()


@pytest.mark.parametrize(
    "override", ["stages.0.output=float16", "stages.0.layer=layer2", "source=s3://other", "source.max_pixels=5"]
)
def test_what_decides_the_output_is_part_of_a_jobs_identity(override: str) -> None:
    assert load(SMALLEST, override).identity() != load(SMALLEST).identity()


def test_two_columns_of_one_name_are_refused() -> None:
    twice = SMALLEST + '  - embed: {model: "torchvision:resnet34/random"}\n'
    assert "two columns would be called embedding" in fault(twice)
    load(twice.replace("resnet34/random", "resnet34/random").replace('34/random"}', '34/random", column: other}'))
