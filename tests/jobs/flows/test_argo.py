"""Flows as Argo Workflows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from pixelmill.jobs import cli
from pixelmill.jobs.flows.argo import config_map_of, workflow_of
from pixelmill.jobs.flows.spec import Flow, read_flow
from pixelmill.workers.errors import JobError


def flow_of(tmp_path: Path, **steps: Any) -> Flow:
    (tmp_path / "job.yaml").write_text("version: 1\n")
    text = yaml.safe_dump({"version": 1, "out": "s3://b/flow", "steps": steps})
    return read_flow(text, name=str(tmp_path / "flow.yaml"), overrides=[], environment={})


EMBED = {"run": ["run", "job.yaml", "--set", "out=${out}"], "cpus": 4, "gpus": 1}
EXPORT = {"run": ["export", "${embed_all.out}", "${out}"]}


def made(flow: Flow, **options: Any) -> dict[str, Any]:
    return workflow_of(flow, **{"name": "nightly", "image": "i:1", "secret": None, "file_name": "flow.yaml", **options})


def test_the_tasks_have_the_needs_of_the_steps_and_their_commands(tmp_path: Path) -> None:
    flow = flow_of(tmp_path, export=EXPORT, embed_all=EMBED)
    spec = made(flow, secret="s3")["spec"]
    dag, *templates = spec["templates"]
    tasks = {task["name"]: task.get("dependencies", []) for task in dag["dag"]["tasks"]}
    assert tasks == {"embed-all": [], "export": ["embed-all"]}
    by_name = {template["name"]: template["container"] for template in templates}
    assert by_name["export"]["args"] == ["export", "s3://b/flow/embed_all", "s3://b/flow/export"]
    embed = by_name["embed-all"]
    assert embed["args"] == [
        "run",
        "/pixelmill/steps/embed_all.yaml",
        "--set",
        "out=s3://b/flow/embed_all",
        "--failures",
        "ok",
    ]
    assert embed["resources"]["limits"] == {"cpu": "4.0", "nvidia.com/gpu": "1"}
    assert embed["envFrom"] == [{"secretRef": {"name": "s3"}}]
    assert config_map_of(flow, name="nightly")["data"] == {"embed_all.yaml": "version: 1\n"}  # type: ignore[index]
    assert spec["volumes"][0]["configMap"]["name"] == "nightly-steps"


def test_no_value_of_the_environment_is_written(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").touch()
    steps = {"a": {"run": ["embed", "${photos}/x", "${out}", "--set", "source.profile=${TOKEN}"]}}
    keys = {"version": 1, "out": "s3://b/flow", "parameters": {"photos": "${BUCKET:-s3://b}"}}
    text = yaml.safe_dump({**keys, "steps": steps})
    flow = read_flow(
        text, name=str(tmp_path / "f"), overrides=[], environment={"TOKEN": "hunter2", "BUCKET": "hunter3"}
    )
    workflow = made(flow)
    assert "hunter" not in str(workflow)
    words = workflow["spec"]["templates"][1]["container"]["args"]
    assert words == ["embed", "s3://b/x", "s3://b/flow/a", "--set", "source.profile=$(TOKEN)", "--failures", "ok"]


def test_a_bad_job_is_not_tried_again(tmp_path: Path) -> None:
    _, template = made(flow_of(tmp_path, embed_all=EMBED))["spec"]["templates"]
    codes = template["retryStrategy"]["expression"].partition("[")[2].rstrip("]").split(", ")
    assert "75" in codes
    assert not {"2", "3", "4"} & set(codes)


def test_what_a_workflow_can_t_say_is_refused(tmp_path: Path) -> None:
    value = {"run": ["export", "${embed_all.out}", "${out}", "--shard-mb", "${embed_all.done}"]}
    with pytest.raises(JobError, match="is a value of a _SUCCESS, which a Workflow can't pass on"):
        made(flow_of(tmp_path, embed_all=EMBED, export=value))
    for name in ("Nightly", "a_b", "-a", "a" * 59):
        with pytest.raises(JobError, match="Kubernetes takes"):
            made(flow_of(tmp_path, embed_all=EMBED), name=name)


def test_the_command_prints_the_files_of_the_steps_and_then_the_workflow(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("version: 1\n")
    (tmp_path / "flow.yaml").write_text(yaml.safe_dump({"version": 1, "out": "s3://b/x", "steps": {"a": EMBED}}))
    asked = ["argo", str(tmp_path / "flow.yaml"), "--image", "i:1", "--name", "nightly", "--set", "out=s3://b/y"]
    shown = CliRunner().invoke(cli.app, asked, catch_exceptions=False)
    files, workflow = yaml.safe_load_all(shown.stdout)
    assert (files["kind"], workflow["kind"]) == ("ConfigMap", "Workflow")
    assert "out=s3://b/y/a" in workflow["spec"]["templates"][1]["container"]["args"]
