"""A file of any kind is read and checked as the command that runs it will, and a flow comes with the files that it names."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pixelmill.jobs.work_file import read_work_file
from pixelmill.workers.errors import JobError

JOB = {
    "version": 1,
    "source": "s3://b/in",
    "out": "${OUT}",
    "stages": [{"embed": {"model": "torchvision:resnet18/random"}}],
}
TRAINING = {"recipe": "vae", "data": "s3://b/in", "out": "${OUT}"}
ENVIRONMENT = {"OUT": "s3://b/out"}


def write(path: Path, document: object) -> str:
    path.write_text(yaml.safe_dump(document))
    return str(path)


@pytest.mark.parametrize(("document", "kind"), [(JOB, "job"), (TRAINING, "training")])
def test_references_to_the_environment_stay_references(tmp_path: Path, document: object, kind: str) -> None:
    work = read_work_file(write(tmp_path / "work.yaml", document), ENVIRONMENT)
    assert (work.kind, work.document["out"], work.beside) == (kind, "${OUT}", {})


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({**JOB, "stages": [{"embedd": {}}]}, "embedd"),
        ({**TRAINING, "recipe": "vea"}, "there is no vea"),
        ({"version": 1, "out": "o", "steps": {"a": {"run": ["embed", "x", "${b.out}"]}}}, "b"),
        (JOB | {"out": "${MISSING}"}, "MISSING"),
    ],
)
def test_every_kind_is_refused_with_the_faults_that_its_command_would_find(
    tmp_path: Path, document: object, said: str
) -> None:
    with pytest.raises(JobError, match=said):
        read_work_file(write(tmp_path / "work.yaml", document), ENVIRONMENT)


def test_a_flow_comes_with_the_files_beside_it_that_its_steps_name(tmp_path: Path) -> None:
    for name in ("one.yaml", "two.yml", "unused.yaml"):
        write(tmp_path / name, JOB)
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub/other.yaml", JOB)
    steps = {
        "a": {"run": ["run", "one.yaml", "--set", "out=${out}"]},
        "b": {"run": ["run", "two.yml", "--set", "out=${out}"]},
        "c": {"run": ["run", str(tmp_path / "sub/other.yaml"), "--set", "out=${out}"]},
    }
    path = write(tmp_path / "flow.yaml", {"version": 1, "out": "s3://b/flow", "steps": steps})
    work = read_work_file(path, {})
    assert work.kind == "flow"
    assert work.beside == {name: (tmp_path / name).read_text() for name in ("one.yaml", "two.yml")}


def test_a_file_that_is_not_there_is_a_plain_word(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="there is no such job file"):
        read_work_file(str(tmp_path / "gone.yaml"), {})
