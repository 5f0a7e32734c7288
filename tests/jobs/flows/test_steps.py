"""Whether a step is done: by its command, the file that it names, and what it read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pixelmill.jobs.flows.spec import Flow, read_flow
from pixelmill.jobs.flows.steps import Step, step_of
from pixelmill.workers.errors import JobError


def flow_of(tmp_path: Path, *more: str) -> Flow:
    steps = {
        "first": {"run": ["run", "job.yaml", "--set", "out=${out}", *more]},
        "second": {"run": ["embed", "${first.out}", "${out}", "--set", "source.limit=${first.done}"]},
    }
    (tmp_path / "job.yaml").touch()
    text = yaml.safe_dump({"version": 1, "out": str(tmp_path / "flow"), "steps": steps})
    return read_flow(text, name=str(tmp_path / "flow.yaml"), overrides=[], environment={})


def complete(step: Step, **success: Any) -> None:
    """As the command of a step leaves its folder."""
    step.folder.publish("data/part-000000.parquet", b"")
    step.folder.publish("_SUCCESS", json.dumps({"done": 7, "attempt": 1, **success}).encode())
    step.finish(("x",))


def test_a_step_is_done_once_its_command_was_complete(tmp_path: Path) -> None:
    step = step_of(flow_of(tmp_path), "first")
    assert not step.is_done()
    step.folder.publish("_SUCCESS", b"{}")
    assert not step.is_done()  # by somebody else
    complete(step)
    assert step.is_done()
    assert step_of(flow_of(tmp_path), "first").is_done()


def test_another_command_or_another_job_file_makes_it_run_again(tmp_path: Path) -> None:
    complete(step_of(flow_of(tmp_path), "first"))
    assert not step_of(flow_of(tmp_path, "--set", "run.actors=3"), "first").is_done()
    (tmp_path / "job.yaml").write_text("changed: true\n")
    assert not step_of(flow_of(tmp_path), "first").is_done()


def test_the_place_of_the_flow_file_is_no_part_of_what_a_step_is(tmp_path: Path) -> None:
    flow = flow_of(tmp_path)
    elsewhere = tmp_path / "sent"
    elsewhere.mkdir()
    (elsewhere / "job.yaml").touch()
    moved = Flow(flow.document, flow.spec, elsewhere, {})
    assert step_of(moved, "first").identity == step_of(flow, "first").identity


def test_what_it_read_must_still_be_there_unchanged(tmp_path: Path) -> None:
    flow = flow_of(tmp_path)
    first = step_of(flow, "first")
    complete(first)
    complete(step_of(flow, "second"))
    assert step_of(flow, "second").is_done()
    complete(first, attempt=2)  # which says nothing of the output
    assert step_of(flow, "second").is_done()
    first.folder.publish("data/part-000001.parquet", b"")
    assert not step_of(flow, "second").is_done()


def test_values_of_another_step_are_those_of_its_success(tmp_path: Path) -> None:
    flow = flow_of(tmp_path)
    first = step_of(flow, "first")
    with pytest.raises(JobError, match=r"\$\{first.done\}: the _SUCCESS of first has no such value; it has none"):
        step_of(flow, "second")
    complete(first)
    assert step_of(flow, "second").words[1:3] == (first.out, flow.step_out("second"))
    assert step_of(flow, "second").words[-1] == "source.limit=7"


def test_a_command_without_a_folder_gets_its_success_from_the_flow(tmp_path: Path) -> None:
    step = step_of(flow_of(tmp_path), "first")
    step.finish(("eval", "${SECRET}"))
    assert json.loads(step.folder.read("_SUCCESS") or b"") == {"command": ["eval", "${SECRET}"]}
    assert step.is_done()
