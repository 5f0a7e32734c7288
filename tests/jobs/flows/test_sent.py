"""A flow as it is sent: with the files that its steps name, complete paths, and references that stay names."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pixelmill.jobs.flows.sent import sent_flow
from pixelmill.jobs.flows.spec import read_flow
from pixelmill.workers.errors import JobError


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    (tmp_path / "job.yaml").write_text("stages: [embed]\n")
    steps = {
        "embed": {"run": ["run", "job.yaml", "--set", "out=${out}"]},
        "style": {"run": ["stylize", "./photos", "${out}", "--set", "source.profile=${PROFILE}"], "out": "${where}/s"},
    }
    document = {"version": 1, "out": "flow", "parameters": {"where": "s3://b"}, "steps": steps}
    (tmp_path / "flow.yaml").write_text(yaml.safe_dump(document))
    return tmp_path / "flow.yaml"


def test_what_is_sent_can_be_read_where_it_arrives(flow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(flow.parent)
    environment = {"PROFILE": "hunter2"}
    sent = sent_flow(flow.read_text(), name=str(flow), overrides=[], environment=environment)
    assert sent.files == {"steps/embed.yaml": b"stages: [embed]\n"}
    assert sent.own_names == {"out", "where"}
    text = yaml.safe_dump(sent.document)
    assert "hunter2" not in text
    there = tmp_path / "there"
    (there / "steps").mkdir(parents=True)
    (there / "steps/embed.yaml").write_bytes(sent.files["steps/embed.yaml"])
    monkeypatch.chdir("/")
    arrived = read_flow(text, name=str(there / "job.yaml"), overrides=[], environment=environment)
    assert arrived.open_out().uri == str(flow.parent / "flow")
    assert arrived.spec.steps["style"].run[1] == str(flow.parent / "photos")
    assert arrived.step_out("style") == "s3://b/s"


def test_a_flow_that_can_not_be_is_not_sent(flow: Path) -> None:
    text = flow.read_text().replace("s3://b", "flow")
    with pytest.raises(JobError, match="there is no file"):
        sent_flow(text, name="elsewhere/flow.yaml", overrides=[], environment={"PROFILE": "x"})
