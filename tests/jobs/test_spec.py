"""The job file: its keys, what each may be, and its JSON Schema."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from pixelmill.jobs import spec
from pixelmill.jobs.documents.kinds import kind_of
from tests.jobs.job_files import SMALLEST, fault, load

FILES = sorted((Path(spec.__file__).parent / "examples").glob("*.yaml"))
EXAMPLES = [path for path in FILES if kind_of(path.read_text(), path.name) == "job"]


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
def test_the_schema_refuses_the_files_that_the_command_refuses(change: tuple[str, str]) -> None:
    text = SMALLEST.replace(*change)
    assert not Draft202012Validator(spec.schema()).is_valid(yaml.safe_load(text))
    fault(text)


@pytest.mark.parametrize("column", ["id", "uri", "member", "width", "height"])
def test_a_column_that_every_output_has_is_refused(column: str) -> None:
    assert f"two columns would be called {column}" in fault(SMALLEST, f"stages.0.column={column}")


@pytest.mark.parametrize("column", ['"a\\nb"', '"\\e[31m"', '" a"', '"a "', '"\\u202eb"'])
def test_a_column_whose_name_does_not_show_is_refused(column: str) -> None:
    assert "a name begins and ends with a character to see" in fault(SMALLEST, f"stages.0.column={column}")
    assert load(SMALLEST, "stages.0.column=Größe in m").spec.configs


@pytest.mark.parametrize("number", [".inf", ".nan"])
@pytest.mark.parametrize(
    "stage",
    [
        "depth: {camera: {focal_px: NUMBER}}",
        "depth: {camera: {focal_px: 700, baseline_m: NUMBER}}",
        "synthesize: {tolerance: NUMBER}",
        "stylize: {style: a.jpg, vgg: a.safetensors, style_weight: NUMBER}",
    ],
)
def test_a_number_that_is_not_finite_is_refused(stage: str, number: str) -> None:
    assert "finite" in fault(f"version: 1\nsource: a\nout: b\nstages:\n  - {stage.replace('NUMBER', number)}\n")


@pytest.mark.parametrize("stage", ["segment: {resize_px: SIDE}", "stylize: {size_px: SIDE}"])
def test_a_side_that_no_memory_holds_is_refused(stage: str) -> None:
    job = "version: 1\nsource: a\nout: b\nstages:\n  - " + stage
    assert "should be less than or equal to 16384, not 16385" in fault(job.replace("SIDE", "16385"))
    assert load(job.replace("SIDE", "16384")).spec.configs


@pytest.mark.parametrize("key", ["run.stall_s", "run.memory_gb", "source.timeout_s", "source.retry_for_s"])
def test_an_option_of_the_run_that_is_not_finite_is_refused(key: str) -> None:
    assert "finite" in fault(SMALLEST, f"{key}=.inf")


def test_two_columns_of_one_name_are_refused() -> None:
    twice = SMALLEST + '  - embed: {model: "torchvision:resnet34/random"}\n'
    assert "two columns would be called embedding" in fault(twice)
    assert len(load(twice, "stages.1.column=other").spec.configs) == 2


@pytest.mark.parametrize("gpus", ["1.5", "2.25", "0.001", "-1"])
def test_parts_of_gpus_that_no_worker_can_have_are_refused(gpus: str) -> None:
    said = fault(SMALLEST, f"run.num_gpus={gpus}")
    assert "run.num_gpus" in said
    assert "a worker has a part of one GPU, from 0.01 to 1, or whole ones: 0.5" in said or gpus == "-1"
    assert all(
        load(SMALLEST, f"run.num_gpus={each}").spec.run.num_gpus == float(each) for each in ("0", "0.3", "1", "2")
    )
