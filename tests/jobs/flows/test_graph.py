"""Flows as graphs: what is refused before anything is started, with the reason and the next step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pixelmill.jobs import spec as job_spec
from pixelmill.jobs.cli import app
from pixelmill.jobs.documents.kinds import kind_of
from pixelmill.jobs.flows.graph import checked_order, needs_of
from pixelmill.jobs.flows.scheduling import Room, Schedule
from pixelmill.jobs.flows.spec import COMMANDS, Flow, read_flow
from pixelmill.workers.errors import JobError


def flow_of(tmp_path: Path, steps: dict[str, Any], **keys: Any) -> Flow:
    text = yaml.safe_dump({"version": 1, "out": str(tmp_path / "flow"), "steps": steps, **keys})
    return read_flow(text, name=str(tmp_path / "flow.yaml"), overrides=[], environment={"HOME_OF": "/x"})


def order_of(tmp_path: Path, steps: dict[str, Any], **keys: Any) -> list[str]:
    return checked_order(flow_of(tmp_path, steps, **keys), "flow.yaml")


EMBED = {"run": ["embed", "s3://b/in", "${out}"]}


def test_a_step_follows_what_it_names_and_what_it_lists(tmp_path: Path) -> None:
    steps = {
        "last": {"run": ["export", "${middle.out}", "${out}"]},
        "middle": {"run": ["stylize", "${first.out}", "${out}"], "needs": ["other"]},
        "first": EMBED,
        "other": EMBED,
    }
    order = order_of(tmp_path, steps)
    assert order.index("first") < order.index("middle") < order.index("last")
    assert order.index("other") < order.index("middle")


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ({"a": {**EMBED, "needs": ["b"]}}, "steps.a.needs: there is no step b; there are a"),
        ({"a": {"run": ["embed", "${c.out}", "${out}"]}}, "there is no step c"),
        (
            {"a": {**EMBED, "needs": ["b"]}, "b": {**EMBED, "needs": ["a"]}},
            "which never begins; leave one of these needs out",
        ),
        ({"a": {**EMBED, "needs": ["a"]}}, "a needs a, which never begins"),
        ({"a": EMBED, "b": {"run": ["embed", "${a.out}", "${out}"], "out": "flow/a"}}, "writes into its own input"),
        ({"a": EMBED, "b": {"run": ["embed", "${a.out}", "${out}"], "out": "flow/a/b"}}, "writes into its own input"),
        ({"a": {"run": ["embed", "pictures/in", "${out}"], "out": "pictures"}}, "is, or holds, what the step reads"),
        (
            {"a": {"run": ["embed", "s3://b", "${out}", "--set", "source.uri=pictures/in"], "out": "pictures"}},
            "is, or holds, what the step reads",
        ),
        ({"a": {**EMBED, "out": "flow"}}, "is, or holds, the flow's own folder"),
        ({"a": {**EMBED, "out": "same"}, "b": {**EMBED, "out": "same"}}, "writes where another does"),
        ({"a": {"run": ["run", "missing.yaml"]}}, "there is no file"),
        ({"a": {"run": ["run"]}}, "`run` needs a job file"),
    ],
)
def test_a_flow_that_can_t_be_is_refused_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: dict[str, Any], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(JobError) as raised:
        order_of(tmp_path, steps)
    assert words in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "reads", [{"source": "pictures/in"}, {"source": {"uri": ["x", "pictures/in"]}}, {"data": "pictures"}]
)
def test_a_step_whose_file_reads_what_it_writes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(reads))
    with pytest.raises(JobError, match=r"steps\.a\.out: .*pictures is, or holds, what the step reads \(pictures"):
        order_of(tmp_path, {"a": {"run": ["run", "job.yaml"], "out": "pictures"}})
    assert order_of(tmp_path, {"a": {"run": ["run", "job.yaml"], "out": "another"}}) == ["a"]
    elsewhere = ["--set", "source=s3://b/in", "--set", "data=s3://b/in", "--set", "out=pictures/out"]
    assert order_of(tmp_path, {"a": {"run": ["run", "job.yaml", *elsewhere], "out": "pictures/out"}}) == ["a"]


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ({"a": {"run": ["submit", "job.yaml"]}}, "submit is no command of a step; there are"),
        ({"A b": EMBED}, "is no name of a step"),
        ({"out": EMBED}, "is no name of a step"),
        ({"a": {**EMBED, "need": ["b"]}}, "did you mean needs"),
        ({}, "at least 1 item"),
    ],
)
def test_a_flow_file_with_a_wrong_key_is_refused(tmp_path: Path, steps: dict[str, Any], words: str) -> None:
    with pytest.raises(JobError) as raised:
        flow_of(tmp_path, steps)
    assert words in str(raised.value)


def test_parameters_and_the_environment_are_filled_in_and_stay_references_in_the_document(tmp_path: Path) -> None:
    steps = {"a": {"run": ["embed", "${pictures}/${HOME_OF}", "${out}"]}}
    flow = flow_of(tmp_path, steps, parameters={"pictures": "s3://b"})
    assert flow.spec.steps["a"].run == ["embed", "s3://b//x", "${out}"]
    assert flow.written("a") == ["embed", "${pictures}/${HOME_OF}", "${out}"]


def test_a_name_that_is_neither_parameter_nor_variable_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"NO_SUCH"):
        flow_of(tmp_path, {"a": {"run": ["embed", "${NO_SUCH}", "${out}"]}})


def test_every_command_of_a_step_is_a_command_of_pixelmill() -> None:
    groups = {group.name for group in app.registered_groups}
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert {name.replace("evaluate", "eval") for name in commands} | groups >= COMMANDS


EXAMPLES = sorted((Path(job_spec.__file__).parent / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", [path for path in EXAMPLES if kind_of(path.read_text(), path.name) == "flow"], ids=str)
def test_the_flows_that_ship_can_be(path: Path) -> None:
    flow = read_flow(path.read_text(), name=str(path), overrides=[], environment={})
    assert len(checked_order(flow, path.name)) >= 3


# Which steps run


def schedule(tmp_path: Path, steps: dict[str, Any], cpus: float) -> Schedule:
    flow = flow_of(tmp_path, steps)
    return Schedule(flow.spec.steps, checked_order(flow, "flow.yaml"), Room(cpus))


def test_steps_run_side_by_side_as_far_as_there_is_room(tmp_path: Path) -> None:
    steps = {name: {**EMBED, "cpus": 2} for name in "abc"}
    made = schedule(tmp_path, steps, cpus=4)
    first = made.startable()
    assert len(first) == 2
    for name in first:
        made.fates[name] = "running"
    assert made.startable() == []
    made.fates[first[0]] = "done"
    assert len(made.startable()) == 1


def test_a_step_that_states_nothing_runs_alone_and_one_that_asks_for_too_much_is_not_held_up(tmp_path: Path) -> None:
    made = schedule(tmp_path, {"a": EMBED, "b": {**EMBED, "cpus": 1}, "c": {**EMBED, "cpus": 99}}, cpus=4)
    for _ in range(3):
        (name,) = made.startable()
        made.fates[name] = "running"
        assert made.startable() == []
        made.fates[name] = "done"
    assert made.is_over


def test_a_failed_step_holds_back_only_what_needs_it(tmp_path: Path) -> None:
    steps = {
        "bad": EMBED,
        "child": {**EMBED, "needs": ["bad"]},
        "grandchild": {**EMBED, "needs": ["child"]},
        "other": {**EMBED, "cpus": 1},
    }
    made = schedule(tmp_path, steps, cpus=4)
    assert made.fail("bad") == ["child", "grandchild"]
    assert made.startable() == ["other"]
    made.fates["other"] = "done"
    assert made.is_over
    assert needs_of(made.steps["child"]) == ("bad",)
