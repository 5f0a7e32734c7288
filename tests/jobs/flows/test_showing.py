"""What `run flow.yaml --dry-run` says of each step."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from pixelmill.jobs.flows.showing import plan_lines
from pixelmill.jobs.flows.spec import read_flow
from pixelmill.jobs.flows.steps import step_of


def flow_text(folder: Path, *, always: bool = False) -> str:
    steps = {
        "embed": {"run": ["embed", "s3://${BUCKET}/in", "${out}"], "always": always},
        "export": {"run": ["export", "${embed.out}", "${out}"]},
    }
    return yaml.safe_dump({"version": 1, "out": str(folder / "flow"), "steps": steps})


def lines(text: str) -> list[str]:
    return plan_lines(text, "flow.yaml", [], {"BUCKET": "photos"})


def complete(text: str, name: str) -> None:
    step = step_of(read_flow(text, name="flow.yaml", overrides=[], environment={"BUCKET": "photos"}), name)
    step.folder.publish("_SUCCESS", json.dumps({"done": 7}).encode())
    step.finish(("x",))


def test_a_step_waits_for_the_missing_ones_that_it_needs(tmp_path: Path) -> None:
    assert lines(flow_text(tmp_path)) == [
        "embed: is to be run: pixelmill embed s3://${BUCKET}/in ${out}",
        "export: waits for what it needs: pixelmill export ${embed.out} ${out}",
    ]


def test_what_is_done_is_said_to_be_and_what_is_always_run_is_not(tmp_path: Path) -> None:
    text = flow_text(tmp_path)
    complete(text, "embed")
    assert [line.split(":")[1] for line in lines(text)] == [" is done", " is to be run"]
    complete(text, "export")
    assert [line.split(":")[1] for line in lines(text)] == [" is done", " is done"]
    assert [line.split(":")[1] for line in lines(flow_text(tmp_path, always=True))] == [
        " is to be run",
        " waits for what it needs",
    ]


def test_nothing_is_written(tmp_path: Path) -> None:
    lines(flow_text(tmp_path))
    assert list(tmp_path.iterdir()) == []
