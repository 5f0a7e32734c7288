"""The job file: its keys, what each may be, and its JSON Schema."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from pixelmill.jobs import spec
from tests.jobs.job_files import SMALLEST, fault, load

EXAMPLES = sorted((Path(spec.__file__).parent / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_a_valid_job_and_fits_the_schema(path: Path) -> None:
    text = path.read_text()
    job = load(text)
    assert job.identity()["stages"]
    Draft202012Validator.check_schema(spec.schema())
    Draft202012Validator(spec.schema()).validate(yaml.safe_load(text))


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5


@pytest.mark.parametrize(
    "change",
    [
        ("model:", "modle:"),
        ("embed:", "embd:"),
        ("version: 1", "version: 2"),
        ("out:", "output:"),
        ("embed: {", "embed: {batch: 0, "),
    ],
)
def test_the_schema_refuses_what_the_command_refuses(change: tuple[str, str]) -> None:
    text = SMALLEST.replace(*change)
    assert not Draft202012Validator(spec.schema()).is_valid(yaml.safe_load(text))
    fault(text)


@pytest.mark.parametrize("column", ["id", "uri", "member", "width", "height"])
def test_a_column_that_every_output_has_is_refused(column: str) -> None:
    assert f"two columns would be called {column}" in fault(SMALLEST, f"stages.0.column={column}")


def test_two_columns_of_one_name_are_refused() -> None:
    twice = SMALLEST + '  - embed: {model: "torchvision:resnet34/random"}\n'
    assert "two columns would be called embedding" in fault(twice)
    assert len(load(twice, "stages.1.column=other").spec.configs) == 2
